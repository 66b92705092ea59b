// Live parts ask again every few seconds, but not while nobody looks: a hidden tab asks once when it is shown again.
// An answer is laid over what is there, so that focus, scrolling and a reader's place stay; what a part has come to
// (its data-said) is told to screen readers when it changes.
"use strict";
(() => {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id.endsWith("-live")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) window.htmx.trigger(document.body, "live-again");
  });

  const keepsOpen = { beforeAttributeUpdated: (name) => name !== "open" };  // what is unfolded is the reader's affair

  const status = document.createElement("p");
  status.className = "visually-hidden";
  status.setAttribute("role", "status");
  document.getElementById("main").append(status);

  function update(part, fresh) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const { said } = part.dataset;
    const [now] = window.Idiomorph.morph(part, fresh, { callbacks: keepsOpen });
    if (now.dataset.said !== said) status.textContent = now.dataset.said;
    if (focused && (!focused.isConnected || focused.disabled)) document.querySelector("h1").focus();
    return [now];
  }

  window.htmx.defineExtension("live", {
    isInlineSwap: (style) => style === "morph",
    handleSwap(style, part, fragment) {
      if (style !== "morph") return false;
      return update(part, fragment.firstElementChild ?? fragment);
    },
  });
})();
