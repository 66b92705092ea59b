// Live parts ask again every two seconds, but not while nobody looks: a hidden tab asks once when it is shown again.
"use strict";
(() => {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id.endsWith("-live")) event.preventDefault();
  });
  // A log is read from its end.
  for (const log of document.querySelectorAll("pre.log")) {
    const down = () => { log.scrollTop = log.scrollHeight; };
    down();
    log.closest("details")?.addEventListener("toggle", down);
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && window.htmx) window.htmx.trigger(document.body, "live-again");
  });
})();
