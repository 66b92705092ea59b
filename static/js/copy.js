// A button with data-copy="ID" copies the value of the field with that id. Without JavaScript the button is not there.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    field.select();
    // Only pages over HTTPS, or of this machine, may use the clipboard; elsewhere the text is selected to be copied.
    await navigator.clipboard?.writeText(field.value).then(() => { button.textContent = button.dataset.copied; }, () => {});
  });
}
