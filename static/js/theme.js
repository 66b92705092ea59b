// Light, dark or what the system says: the choice is kept in this browser. Loaded in the head, so no page flashes.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");  // shows what needs a script, before anything is drawn
  const order = ["system", "light", "dark"];
  const read = () => { try { return localStorage.getItem("theme") || "system"; } catch { return "system"; } };
  const apply = (theme) => theme === "system" ? root.removeAttribute("data-theme") : root.setAttribute("data-theme", theme);
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      const show = () => { button.textContent = button.dataset[read()]; };
      show();
      button.addEventListener("click", () => {
        const next = order[(order.indexOf(read()) + 1) % order.length];
        try { localStorage.setItem("theme", next); } catch { /* private mode: the page keeps it until it is left */ }
        apply(next);
        show();
      });
    }
  });
})();
