// What opens over the labelling page: the guidelines, and the reasons for a skip or a flag.
"use strict";
(() => {
  const READ = `guidelines:${document.getElementById("words").dataset.person}:${location.pathname}`;
  const guidelines = document.getElementById("guidelines");
  const panel = guidelines.querySelector(".panel");

  // A newcomer finds the guidelines open, until they close them once. Private mode has no storage.
  try { if (localStorage.getItem(READ)) guidelines.open = false; } catch { /* then they are open every time */ }
  guidelines.addEventListener("toggle", () => {
    if (!guidelines.open) try { localStorage.setItem(READ, "closed"); } catch { /* the same */ }
  });

  const closeAll = () => {  // and out of a text: the next key is a key again, and the place on the page is kept
    const held = document.activeElement;
    const open = [...document.querySelectorAll(":is(.drawer, .pop)[open]")];
    for (const one of open) one.open = false;
    const left = open.find((one) => one.contains(held))?.querySelector("summary");
    const around = held?.matches("textarea") ? held.closest(".answer, .asks") : null;
    if (!left && around) around.tabIndex = -1;
    (left ?? around)?.focus({ preventScroll: true });
  };
  document.addEventListener("close-all", closeAll);
  document.addEventListener("click", (event) => {
    for (const pop of document.querySelectorAll(".pop[open]")) if (!pop.contains(event.target)) pop.open = false;
    if (event.target.closest("[data-close]")) closeAll();
  });

  // Whoever goes on by tab sees where they are: guidelines that lie over it make way.
  document.addEventListener("focusin", ({ target }) => {
    if (!guidelines.open || guidelines.contains(target) || !target.matches(":focus-visible")) return;
    const [over, under] = [panel.getBoundingClientRect(), target.getBoundingClientRect()];
    const apart = under.right <= over.left || over.right <= under.left || under.bottom <= over.top || over.bottom <= under.top;
    if (!apart) guidelines.open = false;
  });
})();
