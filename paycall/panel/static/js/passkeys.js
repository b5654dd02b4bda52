// Passkeys: set one up on the account's page, sign in with one. The browser and the panel do the cryptography.

import { call, Problem, wordsFor } from "./api.js";

// Browsers know no passkeys for bare addresses, nor where the connection is open to others.
const possible = window.isSecureContext && "parseCreationOptionsFromJSON" in (window.PublicKeyCredential ?? {}) &&
  !/^[\d.]+$|:/.test(location.hostname.replace(/^\[|\]$/g, ""));

async function answer(work) {
  try {
    return (await work).toJSON();
  } catch {
    throw new Problem("passkey-refused", 0);
  }
}

async function optionsFrom(url, body) {
  return (await (await call("POST", url, body)).json()).options;
}

async function setUp(form) {
  const data = new FormData(form);
  const options = await optionsFrom("/api/v1/account/passkeys/options", { password: data.get("password") });
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await answer(navigator.credentials.create({ publicKey }));
  await call("POST", "/api/v1/account/passkeys", { credential, name: data.get("name") });
  location.reload();
}

async function signIn(form) {
  const options = await optionsFrom("/api/v1/session/passkey/options");
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await answer(navigator.credentials.get({ publicKey }));
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
