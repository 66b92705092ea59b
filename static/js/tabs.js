// A row of tabs that is wider than the screen begins where the page one looks at is.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
