// An icon of the admin's theme is a word in a font of pictures, by its text or its style: no screen reader says it. What
// holds one is named by its other text or its title. A field's calendar is named for the field. And what was
// refused has the focus at last: Django's script gives it to the first field, and the theme hides the page at first.
"use strict";
(() => {
  function name() {
    for (const icon of document.querySelectorAll(".material-symbols-outlined:not([role], [aria-hidden], input)")) {
      icon.setAttribute("aria-hidden", "true");
    }
    for (const hint of document.querySelectorAll(".help-tooltip[aria-label]:not([role])")) {
      hint.setAttribute("role", "img");
    }
    for (const icon of document.querySelectorAll("a:not([aria-label]) > :is(.date-icon, .clock-icon)")) {
      const field = icon.closest(".datetimeshortcuts").previousElementSibling;
      icon.parentElement.setAttribute("aria-label", `${field.labels[0]?.textContent.trim() ?? ""} ${icon.title}`.trim());
    }
  }
  // On a phone each cell of a list has its column's name before it: the one that stands over it.
  function label() {
    const heads = [...document.querySelectorAll("#result_list > thead th")].map((head) => head.querySelector("div div")?.textContent.trim());
    for (const row of document.querySelectorAll("#result_list > tbody > tr")) {
      for (const [n, cell] of [...row.cells].entries()) if (heads[n]) cell.dataset.label = heads[n];
    }
  }
  // Where a row was taken away with its button, the focus goes to the link that adds one.
  document.addEventListener("formset:removed", ({ detail }) => {
    document.querySelector(`#${detail.formsetName}-group .add-row`)?.focus();
  });
  window.addEventListener("load", () => document.querySelector("[role=alert][autofocus]")?.focus());
  document.addEventListener("DOMContentLoaded", () => {
    name();
    label();
    new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  });
})();
