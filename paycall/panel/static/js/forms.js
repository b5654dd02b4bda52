// Forms that speak to the API, dialogs that ask first, keys that press buttons.

import { call, wordsFor } from "./api.js";
import { prove } from "./proof.js";
import { until } from "./timers.js";

// Beside the form; where it has no place for it, or was replaced by what happened meanwhile, for everybody to see.
function showError(form, text) {
  const place = (form.isConnected && form.querySelector("[data-error]")) || document.getElementById("trouble");
  if (!place) return;
  place.hidden = !text;
  place.textContent = text;
}

// What a person types as an amount, as whole minor units; null where it is not an amount.
export function minorUnits(text, decimals) {
  const plain = text.replace(/[\s\u00a0']/g, "").replace(",", ".");
  const match = /^(\d{1,11})(?:\.(\d*))?$/.exec(plain);
  // More decimals than the currency has are a separator of thousands: "1.000" is not one euro.
  if (!match || (match[2] ?? "").length > decimals) return null;
  const minor = Number(match[1] + (match[2] ?? "").padEnd(decimals, "0"));
  return minor > 0 && minor <= 1e11 ? minor : null;
}

// The most that the role may move, where there is such a limit.
function showLimit(dialog, words = "") {
  for (const place of dialog.querySelectorAll("[data-limit]")) {
    place.textContent = words;
    place.hidden = !words;
  }
}

// Asks first; a dialog with a place for it names the form's amount, and the role's limit.
function ask(dialogId, { amount = "", limit = "" } = {}) {
  const dialog = document.getElementById(dialogId);
  for (const place of dialog.querySelectorAll("[data-amount]")) place.textContent = amount;
  showLimit(dialog, limit);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function paymentBody(form) {
  const data = new FormData(form);
  const option = form.elements.currency.selectedOptions[0];
  const amount = minorUnits(String(data.get("amount")), Number(option.dataset.decimals));
  if (amount === null) return null;
  return {
    amount_minor: amount,
    currency: String(data.get("currency")),
    reference: String(data.get("reference")),
    description: String(data.get("description")),
    fields: data.getAll("fields"),
    caller_language: String(data.get("caller_language") ?? ""),
    ...(data.get("kept_card")
      ? { kept_card: String(data.get("kept_card")), fields: undefined }
      : { token_type: String(data.get("token_type") ?? "one-time") }),
  };
}

// The fields by their names; those that data-json names are lists.
function jsonBody(form) {
  const data = new FormData(form);
  const lists = form.dataset.json ? form.dataset.json.split(" ") : [];
  return Object.fromEntries([
    ...[...data].filter(([name]) => name && !lists.includes(name)),
    ...lists.map((name) => [name, data.getAll(name)]),
  ]);
}

function bodyOf(form) {
  if (form.hasAttribute("data-payment-form")) return paymentBody(form);
  if (form.hasAttribute("data-money-form")) {
    const amount = minorUnits(form.elements.amount.value, Number(form.dataset.decimals));
    return amount === null ? null : { amount_minor: amount };
  }
  if (form.hasAttribute("data-json")) return jsonBody(form);
  return form.dataset.body ? JSON.parse(form.dataset.body) : undefined;
}

// Whether a card number is among the digits: it would stand in the address, in histories and logs. The server looks
// more closely, but when it does the number has been sent.
function holdsCardNumber(text) {
  const digits = text.normalize("NFKC").replace(/[^0-9]/g, "");
  const luhn = [...digits].reverse().reduce((sum, digit, at) => {
    const value = Number(digit) * (at % 2 ? 2 : 1);
    return sum + (value > 9 ? value - 9 : value);
  }, 0);
  return digits.length >= 13 && digits.length <= 19 && luhn % 10 === 0;
}

async function send(form) {
  const body = bodyOf(form);
  if (body === null) {
    showError(form, wordsFor("amount"));
    return;
  }
  const headers = {};
  if (form.dataset.idempotencyKey) headers["idempotency-key"] = form.dataset.idempotencyKey;
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  showError(form, "");
  try {
    if (form.hasAttribute("data-proof")) {
      body.proof = await prove();
      if (body.proof === null) return;
    }
    await answered(form, await call(form.dataset.api, form.action, body, headers));
  } catch (problem) {
    const asks = { "possible-duplicate": form.dataset.duplicate, "outcome-unknown": form.dataset.unknown }[problem.code];
    if (!asks) showError(form, problem.message);
    else if (await ask(asks)) await again(form, body, headers);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

async function answered(form, answer) {
  if (form.hasAttribute("data-reload") || document.querySelector("[data-page-actions]")) {
    setTimeout(() => location.reload(), Number(form.dataset.reload ?? 0));
    return;
  }
  const asked = form.closest("dialog");
  asked?.close();
  // Its opener is gone with the step that it was: the keyboard goes on where the payment is now.
  if (asked) document.querySelector('[data-part="front"]')?.focus({ preventScroll: true });
  if (form.hasAttribute("data-dials")) {
    document.dispatchEvent(new CustomEvent("dialled", { detail: (await answer.json()).id }));
  }
  if (form.hasAttribute("data-fills")) fill(form.querySelector("[data-filled]"), await answer.json());
  if (!form.dataset.shows) return;
  // What the answer holds and is shown only now, such as an invitation.
  const data = await answer.json();
  const dialog = document.getElementById(form.dataset.shows);
  for (const place of dialog.querySelectorAll("[data-show]")) place.textContent = data[place.dataset.show];
  dialog.addEventListener("close", () => location.reload(), { once: true });
  dialog.showModal();
}

// What is good for some seconds only, such as a link code.
function fill(place, data) {
  for (const part of place.querySelectorAll("[data-show]")) part.textContent = data[part.dataset.show];
  place.querySelector("[data-until]").dataset.until = until(data.seconds);
  place.hidden = false;
  clearTimeout(Number(place.dataset.timer));
  place.dataset.timer = setTimeout(() => { place.hidden = true; }, data.seconds * 1000);
}

// It is meant, although it may be one charge too many.
async function again(form, body, headers) {
  try {
    await answered(form, await call(form.dataset.api, form.action, { ...body, confirm_duplicate: true }, headers));
  } catch (problem) {
    showError(form, problem.message);
  }
}

function openPaymentDialog(dialog, button) {
  const form = dialog.querySelector("form");
  form.reset();
  dialog.dataset.call = button.dataset.call;
  form.action = `/api/v1/calls/${button.dataset.call}/payments`;
  // One key for one opening of the dialog: pressing twice, or again after a lost answer, makes one payment.
  form.dataset.idempotencyKey = crypto.randomUUID?.() ?? String(performance.now()) + String(Date.now());
  for (const name of ["reference", "description", "currency"]) {
    if (button.dataset[name]) form.elements[name].value = button.dataset[name];
  }
  const { keptCard = "", keptName = "" } = button.dataset;
  form.elements.kept_card.value = keptCard;
  form.querySelector("[data-kept-name]").textContent = keptName;
  for (const part of form.querySelectorAll("[data-kept], [data-kept-hint]")) part.hidden = !keptCard;
  for (const part of form.querySelectorAll("[data-keyed]")) part.hidden = Boolean(keptCard);
  // The page was made before the call came: whether this caller's card can be kept is known by the button.
  const keep = form.querySelector("[data-keep]");
  if (keep) keep.hidden = !button.hasAttribute("data-keeps-card");
}

// Settle or refund: the most that can be is there already.
function openMoneyDialog(dialog, button) {
  const form = dialog.querySelector("form");
  const { decimals } = button.dataset;
  const isWhole = button.hasAttribute("data-whole");
  form.action = button.dataset.action;
  form.dataset.decimals = decimals;
  form.elements.amount.value = (Number(button.dataset.most) / 10 ** Number(decimals)).toFixed(Number(decimals));
  form.elements.amount.readOnly = isWhole;
  dialog.querySelector("[data-unit]").textContent = button.dataset.currency;
  showLimit(dialog, button.dataset.limit);
  dialog.querySelector("[data-hint]").hidden = isWhole;
  const whole = dialog.querySelector("[data-whole-hint]");
  if (whole) whole.hidden = !isWhole;
}

// A form whose address and values are those that its opener names.
function fillForm(form, button) {
  form.action = button.dataset.action;
  for (const [name, value] of Object.entries(JSON.parse(button.dataset.values))) form.elements[name].value = value;
}

function open(button) {
  const dialog = document.getElementById(button.dataset.opens);
  showError(dialog, "");
  if (dialog.id === "payment-dialog") openPaymentDialog(dialog, button);
  if (button.dataset.values) fillForm(dialog.querySelector("form"), button);
  if (dialog.querySelector("[data-money-form]")) openMoneyDialog(dialog, button);
  if (dialog.id === "roll-dialog") dialog.querySelector("form").action = button.dataset.action;
  dialog.showModal();
}

export function listen() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.hasAttribute("data-no-card") && holdsCardNumber(form.elements.q.value)) {
      event.preventDefault();
      showError(form, wordsFor("card-number-in-text"));
    }
    if (!form.dataset.api) return;
    event.preventDefault();
    if (form.dataset.confirm && !(await ask(form.dataset.confirm, form.dataset))) return;
    await send(form);
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form?.hasAttribute("data-on-change")) form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) open(opener);
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  });
  // Function keys only: they are nobody's letters, so no field and no screen reader is in the way.
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!button || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    button.click();
  });
}
