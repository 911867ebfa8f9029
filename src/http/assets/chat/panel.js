/**
 * The connection panel: what this tab's connection, socket and actor are doing, and small notices about it.
 *
 * Reads the client and writes into elements with `data-field`; decides nothing. The page calls `tick` once a second.
 */

import { element } from "./names.js";

const TOAST_MS = 7_000;
const CRASH_HINT = "The actor behind this tab panics and comes back as the next generation. The socket stays open.";
const AWAY_HINT = "What you write meanwhile is sent as soon as the connection is back.";
const ENDED_HINT = "Nothing is sent or received any more in this tab.";
const NAMES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", closed: "Disconnected" };

export class Panel {
  #dormouse = null;
  #retryAt = null;
  #reason = "";
  #lost = 0;
  #readies = 0;

  /** @param {import("/client.js").Dormouse} dormouse */
  attach(dormouse) {
    this.#dormouse = dormouse;
    dormouse.on("state", (detail) => this.#state(detail));
    dormouse.on("ready", () => this.#identity());
    dormouse.on("restarted", ({ generation, lost }) => {
      this.#lost += lost ?? 0;
      field("lost", this.#lost === 1 ? "1 message" : `${this.#lost} messages`);
      field("generation", generation);
      field("restarts", dormouse.restarts);
      pulse("generation");
      toast(`Actor restarted as generation ${generation}, the socket stayed open.`, "good", "restarted");
      this.measure();
    });
    dormouse.on("gap", ({ from, to, reason }) => {
      const count = to - from + 1;
      field("gap", `${count} ${count === 1 ? "event" : "events"} (${String(reason).replaceAll("_", " ")})`);
    });
    this.#state({ state: dormouse.state });
  }

  #state({ state, retry_in_ms, reason, error }) {
    document.body.dataset.state = state;
    this.#retryAt = retry_in_ms === undefined ? null : performance.now() + retry_in_ms;
    this.#reason = error?.message ?? (reason ? `the last one ended: ${reason}` : "");
    byId("crash").disabled = state !== "live";
    byId("crash").hidden = state === "closed" || state === "reconnecting";
    byId("reconnect").hidden = !byId("crash").hidden;
    field("hint", state === "closed" ? ENDED_HINT : state === "reconnecting" ? AWAY_HINT : CRASH_HINT);
    if (state !== "live") field("rtt", "–");
    this.tick();
  }

  /** The connection's id survives a crash of its actor and is asked for with each socket. */
  async #identity() {
    const dormouse = this.#dormouse;
    field("generation", dormouse.generation);
    field("node", dormouse.node ?? "–");
    field("reconnects", this.#readies++);
    this.measure();
    const { connection } = await dormouse.whoami().catch(() => ({ connection: "–" }));
    field("connection", connection);
  }

  async measure() {
    const rtt = await this.#dormouse?.ping().catch(() => null);
    if (typeof rtt === "number") field("rtt", rtt < 10 ? `${rtt.toFixed(1)} ms` : `${Math.round(rtt)} ms`);
  }

  /** Moves what moves by itself: the age of the socket and the countdown. */
  tick() {
    const dormouse = this.#dormouse;
    if (!dormouse) return;
    const { state, uptimeMs } = dormouse;
    field("state", NAMES[state]);
    field("state-short", NAMES[state]);
    if (state === "live") field("since", `socket open for ${duration(uptimeMs)}`);
    else if (state === "closed") field("since", this.#reason || "the connection is closed");
    else if (this.#retryAt === null) field("since", "opening a socket");
    else {
      const left = Math.max(0, Math.ceil((this.#retryAt - performance.now()) / 1_000));
      field("since", `trying again in ${left} s${this.#reason ? `, ${this.#reason}` : ""}`);
      field("state-short", `Reconnecting in ${left} s`);
    }
  }
}

/**
 * A notice that takes no focus and no space. One about the same thing takes the place of the last.
 * @param {string} text @param {"good" | "bad" | "plain"} kind @param {string} about
 */
export function toast(text, kind = "plain", about = text) {
  const box = element("p", `toast ${kind}`, text);
  box.dataset.about = about;
  for (const other of [...byId("toasts").children]) if (other.dataset.about === about) other.remove();
  byId("toasts").append(box);
  while (byId("toasts").childElementCount > 3) byId("toasts").firstElementChild.remove();
  setTimeout(() => box.remove(), TOAST_MS);
}

/** Writes a value wherever it is shown, and only when it changed, so that nothing is announced twice. */
export function field(name, value) {
  for (const place of document.querySelectorAll(`[data-field="${name}"]`)) {
    if (place.textContent !== String(value)) place.textContent = String(value);
  }
}

function pulse(name) {
  for (const place of document.querySelectorAll(`[data-field="${name}"]`)) {
    place.classList.remove("pulse");
    void place.offsetWidth; // restarts the animation
    place.classList.add("pulse");
  }
}

function duration(ms) {
  const seconds = Math.floor(ms / 1_000);
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export const byId = (id) => document.getElementById(id);
