// Pages without a live part: forms, dialogs, clocks.

import { listen } from "./forms.js";
import { free } from "./hands.js";
import { startClock } from "./timers.js";

listen();
startClock();

// A payment whose outcome is on its way: look again soon, but not under the hands of whoever is answering a question.
const refresh = document.querySelector("[data-refresh]");
if (refresh) {
  setInterval(async () => {
    await free();
    if (!document.querySelector("dialog[open]")) location.reload();
  }, Number(refresh.dataset.refresh));
}
