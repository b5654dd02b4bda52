// The event stream: one EventSource, and the truth about whether it is alive.
//
// The browser resumes from the last id by itself. When the panel no longer knows that id it says `reset`, and
// the page loads the state anew. The server speaks at least every ten seconds; silence is staleness.

const SILENCE_MS = 25000;

export class Stream extends EventTarget {
  #source = null;
  #lastId;
  #watchdog = 0;
  #names;

  constructor(names, lastId) {
    super();
    this.#names = names;
    this.#lastId = lastId;
  }

  open() {
    this.#source?.close();
    this.#source = new EventSource(`/api/v1/events?after=${encodeURIComponent(this.#lastId)}`);
    this.#source.addEventListener("open", () => this.#alive());
    this.#source.addEventListener("error", () => this.#lost());
    for (const name of [...this.#names, "reset", "heartbeat"]) {
      this.#source.addEventListener(name, (event) => {
        if (event.lastEventId) this.#lastId = event.lastEventId;
        this.#alive();
        if (name !== "heartbeat") {
          this.dispatchEvent(new CustomEvent("event", { detail: { name, data: JSON.parse(event.data) } }));
        }
      });
    }
    this.#watch();
  }

  #alive() {
    this.dispatchEvent(new CustomEvent("state", { detail: "live" }));
    this.#watch();
  }

  #lost() {
    this.dispatchEvent(new CustomEvent("state", { detail: "stale" }));
    if (this.#source.readyState === EventSource.CLOSED) {
      // Refused (signed out, or a proxy's error page): the browser does not try again, so we do.
      this.dispatchEvent(new CustomEvent("refused"));
      setTimeout(() => this.open(), 2000);
    }
  }

  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#lost();
      this.open();
    }, SILENCE_MS);
  }
}
