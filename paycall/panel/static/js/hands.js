// Whether something of the page is pressed just now, by a finger, a mouse or the space bar.
//
// A click is a press and a release of the same element: of one that was replaced in between nobody is told. So
// whoever replaces parts of the page waits until it is `free()`.

const CLICK_MS = 50; // the click comes after the release, a touch's a moment later
const FORGOTTEN_MS = 5000; // released outside of the window, say: the page must not stand still for it

let held = null;
let letGo = null;
let timer = 0;

function pressed({ target }) {
  if (!target.closest("a, button, input, label, select, summary")) return;
  held ??= new Promise((resolve) => { letGo = resolve; });
  clearTimeout(timer);
  timer = setTimeout(over, FORGOTTEN_MS);
}

function released() {
  if (!held) return;
  clearTimeout(timer);
  timer = setTimeout(over, CLICK_MS);
}

function over() {
  held = null;
  letGo();
}

export async function free() {
  while (held) await held;
}

addEventListener("pointerdown", (event) => { if (event.button === 0) pressed(event); }, true);
addEventListener("keydown", (event) => { if (event.key === " ") pressed(event); }, true);
for (const name of ["pointerup", "pointercancel", "keyup"]) addEventListener(name, released, true);
addEventListener("blur", released); // the window's own
