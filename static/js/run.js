// A log is read from its end.
"use strict";
for (const log of document.querySelectorAll("pre.log")) {
  const down = () => { log.scrollTop = log.scrollHeight; };
  down();
  log.closest("details")?.addEventListener("toggle", down);
}
