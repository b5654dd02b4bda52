// Asks the account's owner for a fresh proof, in one dialog for everything that takes one.

import { get, possible } from "./webauthn.js";

// The proof as the API takes it; null where the person went back. A page without the dialog needs none.
export async function prove() {
  const dialog = document.getElementById("proof-dialog");
  if (!dialog) return {};
  const form = dialog.querySelector("form");
  form.reset();
  const button = form.querySelector("[data-passkey-proof]");
  if (button) {
    button.hidden = !possible;
    button.onclick = () => dialog.close("passkey"); // no submit button: Enter in the field is not for it
  }
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  if (dialog.returnValue === "passkey") return { passkey: await get("/api/v1/account/proof/options") };
  return dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null;
}
