// A key printed on a button presses it, unless single keys are switched off. Every form works without.
"use strict";
(() => {
  const keysOn = document.getElementById("keys-on");  // one choice for this page and the labelling page
  try { keysOn.checked = localStorage.getItem("label-keys") !== "off"; } catch { /* private mode: on */ }
  keysOn.addEventListener("change", () => {
    try { localStorage.setItem("label-keys", keysOn.checked ? "on" : "off"); } catch { /* for this page alone */ }
  });
  for (const key of document.querySelectorAll("[data-needs-script]")) key.hidden = false;
  document.addEventListener("keydown", (event) => {
    if (!keysOn.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
