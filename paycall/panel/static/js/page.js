// Pages without a live part: forms, dialogs, clocks.

import { listen } from "./forms.js";
import { startClock } from "./timers.js";

listen();
startClock();

// A payment whose outcome is on its way: look again soon.
if (document.querySelector("[data-refresh]")) setTimeout(() => location.reload(), 1500);
