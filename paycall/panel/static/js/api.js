// Talking to the API: JSON out, problem documents in, words in the reader's language.

const words = JSON.parse(document.getElementById("messages")?.textContent ?? "{}");

export class Problem extends Error {
  constructor(code, status) {
    super(words[code] ?? words["internal-error"] ?? code);
    this.code = code;
    this.status = status;
  }
}

export function wordsFor(code) {
  return words[code] ?? "";
}

export async function call(method, url, body, headers = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20000),
    });
  } catch {
    throw new Problem("network", 0);
  }
  if (answer.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(problem.code ?? "internal-error", answer.status);
  }
  return answer;
}

export async function fragment(url) {
  const answer = await call("GET", url);
  const text = await answer.text();
  return new DOMParser().parseFromString(text, "text/html");
}
