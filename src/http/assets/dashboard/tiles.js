/**
 * The figures at the top, and the sentence above them: what somebody who was woken wants to know before anything else.
 */

import { byId, element, say } from "./elements.js";
import { age, bytes, cores, count, rate, time } from "./figures.js";

/** How old a percentile may be that is shown where the newest interval has none. */
const MEMORY_MS = 60_000;

const TILES = {
  connections: "Connections",
  delivered: "Deliveries a second",
  delivery: "Delivery, p99",
  lag: "Shard lag, p99",
  commit: "Commit, p99",
  stalled: "Hanging turns",
  lost: "Events lost",
  crashes: "Crashes",
  memory: "Memory a connection",
  cpu: "Processor, cores",
};

export class Tiles {
  #tiles = {};

  /** @param {HTMLElement} room */
  constructor(room) {
    for (const [name, title] of Object.entries(TILES)) {
      const tile = element("div", "tile");
      tile.dataset.tile = name;
      const [term, figure, note] = [element("dt", "", title), element("dd", "figure"), element("dd", "soft")];
      tile.append(term, figure, note);
      this.#tiles[name] = { tile, figure, note };
      room.append(tile);
    }
  }

  /** @param {object} sample @param {object[]} points those before it, the newest last */
  show(sample, points) {
    const { point, connections, totals, ledger, memory, descriptors } = sample;
    this.#say("connections", count(connections.total),
      `${count(connections.awake)} awake, ${count(connections.parked)} parked; room for ${count(connections.most)}`);
    const measured = sample.measured;
    this.#say("delivered", rate(measured ? point.delivered : null), `${rate(measured ? point.published : null)} published`);
    const delivery = recent(points, (one) => one.delivery.p99 !== null);
    this.#say("delivery", time(delivery?.delivery.p99), delivery ? `p50 ${time(delivery.delivery.p50)}, sampled` : "no event within a minute");
    const latest = latestShard(points.at(-1)?.lag ?? []);
    this.#say("lag", time(latest?.lag), latest ? `shard-${latest.shard}, the latest` : "", latest?.lag >= 0.1);
    const commit = recent(points, (one) => one.commit.p99 !== null);
    this.#say("commit", time(commit?.commit.p99), commit ? `p50 ${time(commit.commit.p50)}` : "nothing stored within a minute", commit?.commit.p99 >= 0.25);
    this.#say("stalled", count(sample.stalled.length), `${count(totals.stalls)} since the start; ${count(totals.slow_turns)} slow`, sample.stalled.length > 0);
    const { overflow = 0, crash = 0, disconnected = 0 } = ledger.dropped;
    this.#say("lost", count(overflow + crash), `${count(overflow)} by full mailboxes; ${count(disconnected)} more with their sockets`);
    const last = Math.max(0, ...sample.crashes.map((line) => line.last_at));
    this.#say("crashes", count(totals.crashed),
      last > 0 ? `the last ${age(point.at - last)} ago; ${count(totals.gave_up)} given up` : "none since the start");
    this.#say("memory", bytes(memory.bytes_per_connection), `${bytes(memory.resident_bytes)} in all; a record ${bytes(memory.record_bytes)}`);
    this.#say("cpu", cores(measured ? point.cpu : null), `${count(descriptors.open)} of ${count(descriptors.most)} descriptors`);
    const health = byId("health");
    if (health.dataset.health !== sample.health.state) health.dataset.health = sample.health.state;
    say(byId("health-state"), sample.health.state);
    say(byId("health-text"), sample.health.text);
  }

  #say(name, figure, note, bad = false) {
    const tile = this.#tiles[name];
    say(tile.figure, figure);
    say(tile.note, note);
    tile.tile.classList.toggle("bad", Boolean(bad));
  }
}

/** The newest point of the last minute that has something. */
function recent(points, has) {
  const now = points.at(-1)?.at ?? 0;
  return points.findLast((point) => now - point.at <= MEMORY_MS && has(point));
}

function latestShard(lag) {
  return lag.reduce((latest, one, shard) => (one !== null && one >= (latest?.lag ?? 0) ? { lag: one, shard } : latest), null);
}
