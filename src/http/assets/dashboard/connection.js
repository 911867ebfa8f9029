/**
 * The page of one connection: what the server knows of it, its record, and what can be done to it. Asked for once a second
 * while it is shown.
 */

import { Refused, ask, complaint } from "./api.js";
import { armed, byId, element, say } from "./elements.js";
import { age, bytes, count } from "./figures.js";
import { Plot } from "./plot.js";

const EVERY_MS = 1000;
const WINDOW_MS = 120_000;
const STALL_MS = 500;

const FACTS = {
  user: (one) => one.user ?? "not identified",
  state: (one) => one.state,
  shard: (one) => `shard-${one.shard}`,
  generation: (one) => count(one.generation),
  restarts: (one) => count(one.restarts),
  mailbox: (one) => count(one.mailbox),
  outbox: (one) => bytes(one.outbox_bytes),
  idle: (one) => age(one.idle_ms),
  "slot and record": (one) => bytes(one.record_bytes),
};

const QUEUES = {
  title: "What waits for it",
  unit: "count",
  series: [
    { name: "messages in its mailbox", colour: "--blue", value: (point) => point.mailbox },
    { name: "KiB in its outbox", colour: "--orange", dash: "dashed", value: (point) => point.outbox / 1024 },
  ],
};

export class Connection {
  #id = null;
  #points = [];
  #timer = 0;
  #facts = {};

  /** @param {import("./feed.js").Feed} feed */
  constructor(feed) {
    this.feed = feed;
    for (const name of Object.keys(FACTS)) {
      const row = element("div");
      this.#facts[name] = element("dd");
      row.append(element("dt", "", name), this.#facts[name]);
      byId("facts").append(row);
    }
    this.plot = new Plot(QUEUES, (at) => this.plot.pointAt(at));
    byId("queues").append(this.plot.figure);
    armed(byId("kick"), "Really kick it?", () => this.#do("Kicked.", () => ask("DELETE", `/v1/connections/${encodeURIComponent(this.#id)}`)));
    const chaos = (fault, more) => ask("POST", "/v1/chaos", { fault, target: { connection: this.#id }, ...more });
    byId("panic-it").addEventListener("click", () => this.#do("Its actor has crashed.", () => chaos("panic")));
    byId("stall-it").addEventListener("click", () => this.#do(`A turn of it blocks its shard for ${STALL_MS} ms.`, () => chaos("stall", { ms: STALL_MS })));
    byId("drop-it").addEventListener("click", () => this.#do("Its socket is cut.", () => chaos("drop")));
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** @param {string | null} id nobody's page for a null */
  show(id) {
    if (id === this.#id) return;
    this.#id = id;
    this.#points = [];
    clearTimeout(this.#timer);
    if (id === null) return;
    say(byId("who"), id);
    for (const fact of Object.values(this.#facts)) say(fact, "–");
    for (const list of ["channels", "record"]) byId(list).replaceChildren();
    say(byId("gone"), "");
    say(byId("done"), "");
    delete byId("one").dataset.gone;
    this.permit();
    this.#look();
  }

  /** Shows what the key may do. */
  permit() {
    byId("kick").hidden = !this.feed.may("admin");
    byId("faults").hidden = !(this.feed.hello.chaos && this.feed.may("chaos"));
  }

  async #look() {
    clearTimeout(this.#timer);
    const id = this.#id;
    if (id === null || document.hidden || this.feed.state === "locked") return;
    try {
      const one = await ask("GET", `/v1/connections/${encodeURIComponent(id)}`);
      if (id === this.#id) this.#tell(one);
    } catch (error) {
      if (id !== this.#id) return;
      const gone = error instanceof Refused && error.status === 404;
      say(byId("gone"), gone ? "This connection is gone. Below is what was known of it last." : complaint(error));
      byId("one").dataset.gone = "";
      if (gone) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), EVERY_MS);
  }

  #tell(one) {
    say(byId("gone"), "");
    delete byId("one").dataset.gone;
    for (const [name, fact] of Object.entries(FACTS)) say(this.#facts[name], fact(one));
    byId("one").dataset.state = one.state;
    const channels = byId("channels");
    const names = one.subscriptions.length > 0 ? one.subscriptions : ["none"];
    names.forEach((name, nth) => say(channels.children[nth] ?? channels.appendChild(element("li")), name));
    while (channels.children.length > names.length) channels.lastElementChild.remove();
    say(byId("record"), JSON.stringify(one.record ?? null, null, 2));
    const at = Date.now();
    this.#points.push({ at, span_ms: EVERY_MS, mailbox: one.mailbox, outbox: one.outbox_bytes });
    this.#points.splice(0, this.#points.findIndex((point) => point.at >= at - WINDOW_MS));
    this.plot.show(this.#points, at - WINDOW_MS, at);
  }

  async #do(done, act) {
    const id = this.#id;
    const words = await act().then(() => done, complaint);
    if (id === this.#id) say(byId("done"), words);
    this.#look();
  }
}
