// The count follows the form by itself here, so its button is not needed.
"use strict";
document.documentElement.classList.add("scripted");
// A value that is proposed beside the count goes into its field at a click.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fill]");
  const field = button && document.getElementById(button.dataset.fill);
  if (!field) return;
  field.value = button.dataset.value;
  field.closest("details")?.setAttribute("open", "");
  field.dispatchEvent(new Event("change", { bubbles: true }));
  field.focus();
});
