// Clocks of the page: elapsed times, countdowns, dates in the reader's zone.

const serverNow = Number(document.querySelector('meta[name="paycall-now"]')?.content ?? Date.now());
const offset = serverNow - Date.now();
const language = document.documentElement.lang;
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

function minutes(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${String(Math.floor((seconds % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function until(seconds) {
  return String(Math.round(Date.now() + offset + seconds * 1000));
}

export function tick() {
  const now = Date.now() + offset;
  for (const element of document.querySelectorAll("[data-since]")) {
    write(element, minutes(now - Number(element.dataset.since)));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = Number(element.dataset.until) - now;
    write(element, left <= 0 && element.dataset.over ? element.dataset.over : minutes(left + 999));
    element.classList.toggle("soon", left < 30000 && !element.classList.contains("keys"));
  }
  for (const element of document.querySelectorAll("[data-enabled-at]")) {
    if (Number(element.dataset.enabledAt) > now) continue;
    element.disabled = false;
    delete element.dataset.enabledAt;
  }
  for (const element of document.querySelectorAll("[data-date]")) {
    write(element, dates.format(new Date(Number(element.dataset.date))));
    delete element.dataset.date;
  }
}

export function startClock() {
  tick();
  setInterval(tick, 250);
}
