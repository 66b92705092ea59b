// Putting three to nine answers in order, by keys or by dragging letters. The form's own fields hold the truth.
"use strict";
(() => {
  const words = document.getElementById("words").dataset;
  const fields = () => [...document.querySelectorAll("#work [data-rank]")];
  const field = (letter) => document.querySelector(`#work [data-rank="${letter}"]`);
  let placed = [];   // letters in the order in which keys placed them
  let tied = false;  // the next key shares the place of the last

  const set = (letter, place) => {
    field(letter).value = place ? String(place) : "";
    field(letter).dispatchEvent(new Event("input", { bubbles: true }));
  };

  document.addEventListener("rank-key", ({ detail: key }) => {
    if (key === "t") return tie();
    if (key === "Backspace") return takeBack();
    const letter = fields()[Number(key) - 1]?.dataset.rank;
    if (!letter || placed.includes(letter)) return;
    const last = placed.length ? Number(field(placed.at(-1)).value) : 0;
    // Two that share a place take up one: A, B = C, D are places 1, 2, 2, 3.
    set(letter, tied ? last : last + 1);
    placed.push(letter);
    tied = false;
    draw();
    say(letter);
  });
  const tie = () => {
    tied = placed.length > 0;
    draw();
    if (tied) tell(words.tied.replace("{letter}", placed.at(-1)));
  };
  const takeBack = () => {
    const last = placed.pop();
    tied = false;
    if (last) set(last, 0);
    draw();
    if (last) say(last);
  };
  const tell = (text) => { document.getElementById("said").textContent = text; };
  const say = (letter) => {  // its place, and with whom it shares it
    const place = field(letter).value;
    const there = place ? fields().filter((one) => one.value === place).map((one) => one.dataset.rank) : [letter];
    tell(`${there.join(", ")}: ${place ? words.place.replace("{n}", place) : words.unplaced}`);
  };

  // The board: one spot for every place, and one for letters that have none yet.
  const draw = () => {
    const board = document.querySelector("#work [data-board]");
    if (!board) return;
    board.hidden = false;
    const ranks = new Map(fields().map((one) => [one.dataset.rank, Number(one.value)]));
    const spots = [0, ...fields().map((_, n) => n + 1)].map((place) => {
      const spot = document.createElement("div");
      spot.className = place ? "spot" : "spot unplaced";
      spot.dataset.place = place;
      const name = document.createElement("span");
      name.className = "small";
      name.textContent = place ? words.place.replace("{n}", place) : words.unplaced;
      spot.append(name, ...[...ranks].filter(([, rank]) => rank === place).map(([letter]) => chip(letter)));
      if (tied && place === Number(field(placed.at(-1)).value)) spot.classList.add("over");
      return spot;
    });
    board.replaceChildren(...spots);
    for (const one of fields()) one.closest(".answer").toggleAttribute("data-placed", one.value !== "");
  };
  const chip = (letter) => {
    const made = document.createElement("span");
    made.className = "letter";
    made.dataset.letter = letter;
    made.textContent = letter;
    return made;
  };

  // Dragging, by mouse or finger
  let held = null;
  let from = null;
  const under = (event) => document.elementsFromPoint(event.clientX, event.clientY).find((one) => one.matches("#work .spot"));
  document.addEventListener("pointerdown", (event) => {
    held = event.target.closest("#work .board .letter");
    if (!held) return;
    event.preventDefault();
    held.classList.add("held");
    from = event;
  });
  document.addEventListener("touchstart", (event) => {  // else the browser takes the next tap for the end of a fling
    if (event.target.closest("#work .board .letter")) event.preventDefault();
  }, { passive: false });
  document.addEventListener("pointermove", (event) => {
    if (!held) return;
    held.style.translate = `${event.clientX - from.clientX}px ${event.clientY - from.clientY}px`;
    const over = under(event);
    for (const spot of document.querySelectorAll("#work .spot")) spot.classList.toggle("over", spot === over);
  });
  document.addEventListener("pointerup", (event) => {
    if (!held) return;
    const { letter } = held.dataset;
    const spot = under(event);
    held = null;
    if (spot) set(letter, Number(spot.dataset.place));
    sync();
    if (spot) say(letter);
  });
  document.addEventListener("pointercancel", () => { held = null; draw(); });

  const sync = () => {  // after a drag or a field: keys go on from the last place
    tied = false;
    placed = fields().filter((one) => one.value).sort((a, b) => a.value - b.value).map((one) => one.dataset.rank);
    draw();
  };
  document.addEventListener("change", (event) => { if (event.target.matches?.("#work [data-rank]")) sync(); });
  document.addEventListener("work-shown", sync);
})();
