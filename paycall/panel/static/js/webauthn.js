// Passkeys: what the panel asks, put to the browser. The two of them do the cryptography.

import { call, Problem } from "./api.js";

// Browsers know no passkeys for bare addresses, nor where the connection is open to others.
export const possible = window.isSecureContext && "parseCreationOptionsFromJSON" in (window.PublicKeyCredential ?? {}) &&
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

// Makes a passkey with the options of this address.
export async function create(url, body) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(await optionsFrom(url, body));
  return answer(navigator.credentials.create({ publicKey }));
}

// Asks a passkey with the options of this address.
export async function get(url) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await optionsFrom(url));
  return answer(navigator.credentials.get({ publicKey }));
}
