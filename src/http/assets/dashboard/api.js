/**
 * The HTTP API with this tab's key. The key is kept for the tab alone and never part of an address.
 */

const KEY = "dormouse.key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {"GET" | "POST" | "DELETE"} method @param {object} [body] @throws {Refused} or what `fetch` throws */
export async function ask(method, path, body) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(10_000),
  });
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, told?.error?.message ?? `HTTP ${answer.status}`);
  return told;
}

/** What went wrong, in one sentence. */
export function complaint(error) {
  return error instanceof Refused ? error.message : "The server does not answer.";
}
