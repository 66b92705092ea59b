// Live parts ask again every two seconds, but not while nobody looks: a hidden tab asks once when it is shown again.
"use strict";
(() => {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id.endsWith("-live")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && window.htmx) window.htmx.trigger(document.body, "live-again");
  });
})();
