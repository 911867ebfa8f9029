/**
 * The live feed: one socket, opened again whenever it is lost, and the samples of the last ten minutes.
 *
 *     connecting ──hello──▶ live ──lost──▶ away ──backoff──▶ connecting
 *         └── the key is missing or wrong ──▶ locked ──another key──▶ connecting
 */

import { Refused, ask, key } from "./api.js";

const PAST_MS = 600_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** Close codes of the server that ask for a key: not_identified, auth_failed. */
const LOCKED = [4500, 4501];
/** A tab that nobody looks at is told this rarely. */
const HIDDEN_MS = 10_000;

export class Feed extends EventTarget {
  /** @type {object[]} */
  points = [];
  /** @type {object | null} */
  sample = null;
  /** What the server said first. */
  hello = { scopes: [], chaos: false };
  state = "connecting";
  /** What the server said about it. */
  words = "";
  #every = 1000;
  #socket = null;
  #wait = FIRST_WAIT_MS;
  #timer = 0;
  #refusal = "";

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#pace());
  }

  /** @param {"read" | "publish" | "admin" | "chaos"} scope */
  may(scope) {
    return this.hello.scopes.includes(scope);
  }

  get every() {
    return this.#every;
  }

  set every(ms) {
    this.#every = ms;
    this.#pace();
  }

  /** Opens the socket, at once. */
  connect() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#become("connecting");
    const socket = new WebSocket(new URL("/v1/live", location.href.replace(/^http/, "ws")));
    this.#socket = socket;
    this.#refusal = "";
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#pace(key.get() ?? undefined);
    });
    socket.addEventListener("message", ({ data }) => {
      if (socket === this.#socket) this.#hear(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (LOCKED.includes(code)) this.#lock();
      else this.#lose(opened);
    });
  }

  #pace(secret) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify({ key: secret, every_ms: document.hidden ? HIDDEN_MS : this.#every }));
  }

  #hear(message) {
    switch (message.kind) {
      case "hello":
        // Another life of the server has another past.
        if (message.node !== this.hello.node) this.points = [];
        this.hello = message;
        // A key that nobody asked for would be refused elsewhere.
        if (!message.keyed) key.drop();
        this.#wait = FIRST_WAIT_MS;
        this.#become("live");
        break;
      case "past":
        this.points = message.points;
        this.dispatchEvent(new Event("sample"));
        break;
      case "sample":
        this.sample = message;
        if (message.measured) this.#keep(message.point);
        this.dispatchEvent(new Event("sample"));
        break;
      case "error":
        this.#refusal = message.error.message;
        break;
    }
  }

  #keep(point) {
    const last = this.points.at(-1);
    if (last && point.at <= last.at) return;
    this.points.push(point);
    const kept = this.points.findIndex(({ at }) => at >= point.at - PAST_MS);
    this.points.splice(0, kept);
  }

  #lock() {
    const had = key.get() !== null;
    key.drop();
    this.#become("locked", had ? this.#refusal : "");
  }

  #lose(opened) {
    this.#become("away");
    // A socket that was refused says nothing; the same path without one does.
    if (!opened) ask("GET", "/v1/live").catch((error) => this.#explain(error));
    this.#timer = setTimeout(() => this.connect(), this.#wait * (0.5 + Math.random() / 2));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  #explain(error) {
    if (this.state === "away" && error instanceof Refused) this.#become("away", error.message);
  }

  #become(state, words = "") {
    this.state = state;
    this.words = words;
    this.dispatchEvent(new Event("state"));
  }
}
