// Passkeys: set one up on the account's page, sign in with one. The browser and the panel do the cryptography.

import { call, Problem, wordsFor } from "./api.js";
import { prove } from "./proof.js";
import { create, get, possible } from "./webauthn.js";

async function setUp(form) {
  const proof = await prove();
  if (proof === null) return;
  const credential = await create("/api/v1/account/passkeys/options", { proof });
  await call("POST", "/api/v1/account/passkeys", { credential, name: new FormData(form).get("name") });
  location.reload();
}

async function signIn(form) {
  const credential = await get("/api/v1/session/passkey/options");
  await call("POST", "/api/v1/session/passkey", { credential });
  location.assign(form.dataset.next);
}

for (const hint of document.querySelectorAll("[data-no-passkeys]")) hint.hidden = possible;
for (const form of document.querySelectorAll("[data-passkey]")) {
  form.hidden = !possible;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = form.querySelector("[data-error]");
    error.hidden = true;
    try {
      await (form.dataset.passkey === "sign-in" ? signIn(form) : setUp(form));
    } catch (problem) {
      error.hidden = false;
      error.textContent = problem instanceof Problem ? problem.message : wordsFor("internal-error");
    }
  });
}
