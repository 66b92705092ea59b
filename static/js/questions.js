// What is asked beside the choice: how much of it is answered, and what is missing when somebody wants to send.
"use strict";
(() => {
  const words = document.getElementById("words").dataset;
  const work = () => document.getElementById("work");
  const questions = () => [...work().querySelectorAll(".question")];
  const cards = () => [...work().querySelectorAll(".answer")];
  const nameOf = (question) => question.ariaLabel ?? question.querySelector("legend").textContent;
  const isOpen = (question) => question.querySelector(":invalid") !== null;
  const isUnplaced = (card) => card.querySelector("[data-rank]:invalid") !== null;
  let refused = null;  // the vote that could not be sent: { isChosen, show, say }

  const missing = () => {  // and marked: no mark outlives its cause
    const found = { cards: cards().filter(isUnplaced), questions: questions().filter(isOpen) };
    for (const part of [...cards(), ...questions()]) {
      part.toggleAttribute("data-missing", found.cards.includes(part) || found.questions.includes(part));
    }
    const choice = work().querySelector(".choices") && !refused.isChosen() ? [words.choice] : [];
    const placeless = found.cards.map((card) => card.querySelector("[data-rank]").dataset.rank);
    const open = [...choice, ...found.questions.map(nameOf)];
    const said = [[words.placeless, placeless], [words.unanswered, open]].filter(([, names]) => names.length);
    const text = said.map(([sentence, names]) => sentence.replace("{names}", names.join(", "))).join(" ");
    return { text, first: choice.length ? null : found.cards[0] ?? found.questions[0] };
  };
  document.addEventListener("vote-check", (event) => {
    refused = event.detail;
    const { text, first } = missing();
    if (!text) return;
    event.preventDefault();
    refused.show("missing", text);
    refused.say(text);
    if (first) go(first);
  });
  const go = (part) => {  // to a card and not its field: there a digit would be a place, and no answer
    const isCard = part.matches(".answer");
    if (isCard) part.tabIndex = -1;
    (isCard ? part : part.querySelector("input")).focus({ preventScroll: true });
    part.scrollIntoView({ block: isCard ? "nearest" : "center", inline: "center" });
  };

  const count = () => {
    const place = work().querySelector("[data-answered]");
    if (!place) return "";
    const all = questions();
    place.textContent = words.answered.replace("{n}", all.length - all.filter(isOpen).length).replace("{of}", all.length);
    return place.textContent;
  };
  document.addEventListener("input", (event) => {
    if (!event.target.closest("#work form")) return;
    const told = [spoken(event.target), event.target.closest(".question") ? count() : ""].filter(Boolean);
    if (told.length) document.getElementById("said").textContent = told.join(". ");
    recheck();
  });
  const spoken = (field) => {  // what a key has changed; a field that has the focus speaks for itself
    if (field === document.activeElement || !field.matches(".chip input")) return "";
    const name = [...field.closest(".chip").childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data.trim()).join("");
    if (field.type === "radio") return `${nameOf(field.closest(".question"))}: ${name}`;
    return `${name}: ${field.checked ? words.ticked : words.unticked}`;
  };
  const recheck = () => {
    if (!refused) return;
    const { text } = missing();
    refused.show(text ? "missing" : "ready", text);
    if (!text) refused = null;
  };
  document.addEventListener("choice-made", recheck);
  document.addEventListener("work-shown", () => { refused = null; count(); });
})();
