// A key printed on a button presses it. Nothing else is needed: every form works without.
"use strict";
(() => {
  for (const key of document.querySelectorAll("[data-needs-script]")) key.hidden = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, textarea, select")) return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
