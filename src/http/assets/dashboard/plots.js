/**
 * Which plots there are, and the crosshair that they share.
 */

import { byId, say } from "./elements.js";
import { Plot } from "./plot.js";

/** Seconds that plots may show: no more than there is something of. */
const WINDOWS = [60, 120, 300, 600];
/** More shards than this are shown as the latest of them and the middle one. */
const MOST_SHARDS = 4;
const SHARD_LOOKS = [
  ["--blue", "solid"], ["--orange", "solid"], ["--green", "dashed"], ["--purple", "dashed"],
];

const percentiles = (field) => [
  { name: "p50", colour: "--blue", value: (point) => point[field].p50 },
  { name: "p90", colour: "--green", dash: "dashed", value: (point) => point[field].p90 },
  { name: "p99", colour: "--orange", value: (point) => point[field].p99 },
  { name: "longest", colour: "--purple", dash: "dotted", value: (point) => point[field].max },
];

/** @type {Record<string, import("./plot.js").Spec>} */
const SPECS = {
  connections: {
    title: "Connections",
    broad: true,
    unit: "count",
    kind: "stack",
    series: [
      { name: "awake", colour: "--awake", value: (point) => point.awake },
      { name: "dormant", colour: "--dormant", value: (point) => point.dormant },
      { name: "parked", colour: "--parked", value: (point) => point.parked },
    ],
  },
  deliveries: {
    title: "Deliveries a second",
    note: "Events, counted per subscriber.",
    unit: "rate",
    series: [
      { name: "delivered", colour: "--blue", value: (point) => point.delivered },
      { name: "dropped", colour: "--orange", dash: "dashed", value: (point) => point.dropped },
    ],
  },
  arrivals: {
    title: "Publications and handshakes a second",
    unit: "rate",
    series: [
      { name: "published", colour: "--blue", value: (point) => point.published },
      { name: "handshakes", colour: "--green", dash: "dashed", value: (point) => point.accepted },
      { name: "closed", colour: "--purple", dash: "dotted", value: (point) => point.closed },
      { name: "refused", colour: "--orange", value: (point) => point.refused },
    ],
  },
  delivery: {
    title: "Delivery",
    note: "From an event's offset until the kernel takes it; one at a time of each shard is measured.",
    unit: "time",
    log: true,
    series: percentiles("delivery"),
  },
  wait: {
    title: "Mailbox wait",
    note: "From queued until its turn begins.",
    unit: "time",
    log: true,
    series: percentiles("wait"),
  },
  turn: { title: "Turns", note: "How long a handler runs.", unit: "time", log: true, series: percentiles("turn") },
  lag: { title: "Shard lag", note: "How late clockwork ticks, p99 of each shard.", unit: "time", log: true, series: [] },
  disk: {
    title: "Disk and restarts",
    note: "Durable publish to commit; crash until the actor is ready.",
    unit: "time",
    log: true,
    series: [
      { name: "commit p50", colour: "--blue", value: (point) => point.commit.p50 },
      { name: "commit p99", colour: "--orange", value: (point) => point.commit.p99 },
      { name: "restart p99", colour: "--purple", dash: "dashed", value: (point) => point.restart.p99 },
    ],
  },
  crashes: {
    title: "Crashes a second",
    unit: "rate",
    series: [{ name: "crashed turns, jobs and hubs", colour: "--orange", value: (point) => point.crashed }],
  },
  cpu: {
    title: "Processor",
    note: "Cores in use by the whole process.",
    unit: "cores",
    series: [{ name: "cores", colour: "--blue", value: (point) => point.cpu }],
  },
  memory: {
    title: "Memory",
    unit: "bytes",
    series: [
      { name: "resident", colour: "--blue", value: (point) => point.resident_bytes },
      { name: "outboxes", colour: "--orange", dash: "dashed", value: (point) => point.outbox_bytes },
    ],
  },
};

export class Plots {
  #plots = {};
  #shards = 0;

  /** @param {HTMLElement} room */
  constructor(room) {
    const point = (at, aloud) => {
      for (const plot of Object.values(this.#plots)) plot.pointAt(at);
      if (aloud) say(byId("aloud"), this.#focused()?.words() ?? "");
    };
    for (const [name, spec] of Object.entries(SPECS)) this.#plots[name] = new Plot(spec, point);
    room.append(...Object.values(this.#plots).map(({ figure }) => figure));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#again?.());
  }

  #again = null;

  /** @param {object[]} points @param {number} most seconds of them */
  show(points, most) {
    this.#again = () => {
      const to = points.at(-1)?.at ?? Date.now();
      this.#followShards(points.at(-1)?.lag.length ?? 0);
      const there = (to - (points[0]?.at ?? to)) / 1000;
      const seconds = Math.min(most, WINDOWS.find((window) => window >= there) ?? most);
      for (const plot of Object.values(this.#plots)) plot.show(points, to - seconds * 1000, to);
    };
    this.#again();
  }

  #focused() {
    return Object.values(this.#plots).find(({ figure }) => figure === document.activeElement);
  }

  #followShards(count) {
    if (count === this.#shards) return;
    this.#shards = count;
    const sorted = (point) => point.lag.filter((lag) => lag !== null).sort((a, b) => a - b);
    const series = count <= MOST_SHARDS
      ? SHARD_LOOKS.slice(0, count).map(([colour, dash], shard) => (
        { name: `shard-${shard}`, colour, dash, value: (point) => point.lag[shard] ?? null }))
      : [
        { name: `latest of ${count}`, colour: "--orange", value: (point) => sorted(point).at(-1) ?? null },
        { name: "median", colour: "--blue", dash: "dashed", value: (point) => sorted(point).at(point.lag.length / 2) ?? null },
      ];
    this.#plots.lag.follow(series);
  }
}
