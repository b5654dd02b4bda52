// <field-dots>: how many keys of a field are there, as dots. It is told counts and never anything else.

const GROUPS = { amex: [4, 6, 5], diners: [4, 6, 4] };

function groups(kind, brand, digits) {
  if (kind === "expiration-date") return [2, 2];
  if (kind === "security-code") return [brand === "amex" ? 4 : 3];
  if (kind === "postal-code") return [Math.max(5, digits)];
  const known = GROUPS[brand] ?? [4, 4, 4, 4];
  const size = known.reduce((a, b) => a + b);
  return digits > size ? [...known, digits - size] : known;
}

class FieldDots extends HTMLElement {
  static observedAttributes = ["digits", "brand", "state", "last4"];

  connectedCallback() {
    this.setAttribute("role", "img");
    this.#draw();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#draw();
  }

  #draw() {
    const digits = Number(this.getAttribute("digits") ?? 0);
    const stored = this.getAttribute("state") === "stored";
    const last4 = this.getAttribute("last4");
    const layout = groups(this.getAttribute("kind"), this.getAttribute("brand"), digits);
    const size = layout.reduce((a, b) => a + b);
    if (this.childElementCount !== layout.length || this.dataset.size !== String(size)) {
      this.dataset.size = String(size);
      this.replaceChildren(
        ...layout.map((length) => {
          const group = document.createElement("span");
          group.className = "dot-group";
          for (let i = 0; i < length; i += 1) group.append(document.createElement("i"));
          return group;
        }),
      );
    }
    const dots = [...this.querySelectorAll("i")];
    const filled = stored ? dots.length : digits;
    dots.forEach((dot, i) => {
      dot.classList.toggle("on", i < filled);
      dot.textContent = stored && last4 && i >= dots.length - 4 ? last4[i - dots.length + 4] : "";
    });
    const label = (this.getAttribute("label") ?? "{}").replace("{}", String(digits));
    this.setAttribute("aria-label", stored && last4 ? `•••• ${last4}` : label);
  }
}

customElements.define("field-dots", FieldDots);
