// The board: follows the events and puts the parts in place that the server renders.

import { fragment } from "./api.js";
import "./dots.js";
import { listen } from "./forms.js";
import { free } from "./hands.js";
import { Stream } from "./stream.js";
import { startClock, tick, until } from "./timers.js";

const CALL = ["arrived", "connected", "ended", "mask", "recording", "alarm", "claimed", "updated", "linked", "transferred"].map((n) => `call.${n}`);
const CAPTURE = ["started", "field", "progress", "stored", "failed", "completed", "ended"].map((n) => `capture.${n}`);
const PAYMENT = [
  "created", "capturing", "ready", "authorizing", "approved", "declined", "unknown", "reversed", "cancelled",
  "settling", "settled", "settle_failed", "voiding", "voided", "void_failed", "refunding", "refunded",
  "partly_refunded", "refund_failed", "updated",
].map((n) => `payment.${n}`);

// Events come in bursts, and the server writes the board once for all of one.
const BURST_MS = 40;
// On a supervisor's board the captures and payments of others never end: so late they may be seen in the list.
const OTHERS_MS = 500;

const board = document.getElementById("board");
const announcer = document.getElementById("announcer");
const connection = document.getElementById("connection");
const stale = document.getElementById("stale");
const shown = new Map(); // part -> the server's text of it, to leave alone what has not changed
let front = document.querySelector("[data-front]")?.dataset.front ?? "";
let loading = false;
let loadAgain = false;
let chosen = false; // the call in front was clicked or dialled just now: a newer one does not take its place
let later = 0;
// The newest count of each payment's fields: a part that was rendered a moment ago must not take a dot away again.
const progress = new Map();

function place(part) {
  const old = board.querySelector(`[data-part="${part.dataset.part}"]`);
  const text = part.innerHTML;
  if (!old || shown.get(part.dataset.part) === text) return;
  shown.set(part.dataset.part, text);
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const focusedId = focused?.id;
  const typed = focused?.dataset?.call;
  old.replaceChildren(...part.childNodes);
  if (!focused) return;
  const same = focusedId && document.getElementById(focusedId);
  const again = (same && !same.disabled && same) ||
    (typed && old.querySelector(`[data-call="${CSS.escape(typed)}"]`)) ||
    old.querySelector(".primary") || old;
  again.focus({ preventScroll: true });
}

// The caller has hung up under the hands of who was about to take a payment; the next one may be in front already.
function closeWhatIsOver() {
  const dialog = document.getElementById("payment-dialog");
  if (dialog.open && document.getElementById("start-payment")?.dataset.call !== dialog.dataset.call) dialog.close();
}

// In a tab behind others, that it rings is seen by the title.
const title = document.title;
function entitle() {
  const told = board.querySelector('[data-front-state="ringing"], [data-front-state="connected"]')?.dataset.title;
  document.title = told ? `${told} – ${title}` : title;
}

function announce() {
  const text = board.querySelector("[data-announcement]")?.textContent.trim() ?? "";
  if (text && announcer.textContent !== text) announcer.textContent = text;
}

async function load(byHand = false) {
  chosen ||= byHand;
  if (loading) {
    loadAgain = true;
    return;
  }
  loading = true;
  clearTimeout(later);
  later = 0;
  let follow = true;
  try {
    do {
      await new Promise((resolve) => setTimeout(resolve, BURST_MS));
      loadAgain = false;
      progress.clear();
      const asked = front;
      follow = !chosen;
      chosen = false;
      const page = await fragment(`/fragments/board?call=${encodeURIComponent(asked)}&follow=${follow}`);
      await free();
      if (front !== asked) continue; // another call was clicked meanwhile: what came is not for it
      for (const part of page.querySelectorAll("[data-part]")) place(part);
      front = board.querySelector("[data-front]")?.dataset.front ?? "";
      for (const item of progress.values()) show(item);
    } while (loadAgain);
    tick();
    entitle();
    closeWhatIsOver();
    announce();
  } catch {
    setTimeout(() => load(!follow), 1500);
  } finally {
    loading = false;
  }
}

function show(item) {
  const row = board.querySelector(`[data-payment="${CSS.escape(item.payment_id)}"] [data-field="${CSS.escape(item.field)}"]`);
  if (!row) return;
  row.className = "field collecting";
  const dots = row.querySelector("field-dots");
  dots.setAttribute("state", "collecting");
  dots.removeAttribute("last4");
  dots.setAttribute("brand", item.brand ?? "");
  dots.setAttribute("digits", String(item.digits));
  const brand = row.querySelector("[data-brand]");
  if (brand && brand.dataset.brand !== (item.brand ?? "")) {
    brand.dataset.brand = item.brand ?? "";
    brand.className = `card-brand ${item.brand ?? ""}`;
    brand.textContent = item.brand ? brandName(item.brand) : "";
  }
  row.querySelector(".field-error")?.remove();
  const countdown = row.querySelector(".countdown.keys");
  if (countdown) countdown.dataset.until = until(item.seconds);
}

const NAMES = { visa: "Visa", mastercard: "Mastercard", amex: "American Express", discover: "Discover", jcb: "JCB",
  diners: "Diners Club", unionpay: "UnionPay", maestro: "Maestro", mir: "Mir", prostir: "Prostir" };

function brandName(brand) {
  return NAMES[brand] ?? brand;
}

function take({ name, data }) {
  if (name === "capture.progress") {
    progress.set(`${data.payment_id} ${data.field}`, data);
    show(data);
    return;
  }
  if (name === "call.linked") document.querySelector("[data-filled]")?.setAttribute("hidden", "");
  const others = [...CAPTURE, ...PAYMENT].includes(name) && (data.payment ?? data).call_id !== front;
  if (!others) load();
  else later ||= setTimeout(load, OTHERS_MS);
}

function setState(state) {
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  stale.hidden = state !== "stale";
  document.body.classList.toggle("is-stale", state === "stale");
}

// A call that was dialled from here is in front, even if it is over before the board has heard of it.
document.addEventListener("dialled", (event) => {
  front = event.detail;
  load(true);
});

board.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-call]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  front = link.dataset.call;
  history.replaceState(null, "", link.href);
  load(true);
});

const stream = new Stream([...CALL, ...CAPTURE, ...PAYMENT], document.querySelector('meta[name="paycall-last-event"]').content);
stream.addEventListener("event", (event) => take(event.detail));
stream.addEventListener("state", (event) => {
  const wasStale = connection.dataset.state === "stale";
  setState(event.detail);
  if (wasStale && event.detail === "live") load();
});
// Signed out meanwhile? Asking for the parts answers that, and leads to the sign-in page.
stream.addEventListener("refused", () => load());
stream.open();
listen();
startClock();
entitle();
announce();
