/**
 * The tables below the plots, from one sample.
 */

import { byId, element } from "./elements.js";
import { age, bytes, count, time } from "./figures.js";
import { Rows } from "./rows.js";

/** There are more in the sample; the first are what matters. */
const MOST_TURNS = 12;

const NOBODY = {
  mailbox: "No mailbox holds anything.",
  outbox: "Nothing waits for a socket.",
  restarts: "No actor of a connection has crashed.",
  idle: "Nobody is connected.",
};

const right = (text) => ({ text, kind: "number" });
const mono = (text, connection) => ({ text, kind: "mono", connection });

export class Tables {
  /** @param {(name: string) => void} panic crashes a supervised actor */
  constructor(panic) {
    for (const name of ["worst", "slowest", "crashes", "shards", "closes", "actors", "ledger"]) this[name] = new Rows(byId(name));
    this.panic = panic;
  }

  /** @param {object} sample @param {"mailbox" | "outbox" | "restarts" | "idle"} sort @param {boolean} chaos actors may be crashed */
  show(sample, sort, chaos) {
    const now = sample.point.at;
    const ago = (at) => right(age(now - at));
    this.worst.show(sample.worst[sort].map((one) => ({
      key: one.connection,
      cells: [
        mono(one.connection, one.connection),
        { text: one.user ?? "not identified", kind: one.user ? "name" : "name soft", title: one.user ?? "" },
        { text: one.state, kind: `state ${one.state}` },
        right(count(one.shard)), right(count(one.mailbox)), right(bytes(one.outbox_bytes)), right(count(one.restarts)),
        right(count(one.channels)), right(age(one.idle_ms)), right(bytes(one.record_bytes)),
      ],
    })), NOBODY[sort]);
    this.slowest.show(sample.slowest.slice(0, MOST_TURNS).map((turn) => ({
      key: `${turn.connection} ${turn.at} ${turn.took_us} ${turn.message}`,
      cells: [right(time(turn.took_us / 1e6)), turn.message, mono(turn.connection, turn.connection), ago(turn.at)],
    })), "No turn within the last minute.");
    this.crashes.show(sample.crashes.map((crash) => ({
      key: `${crash.place} ${crash.kind}`,
      cells: [
        right(count(crash.count)), mono(crash.place), crash.kind, ago(crash.first_at), ago(crash.last_at),
        crash.connection ? mono(crash.connection, crash.connection) : "",
        { text: crash.panic, kind: "words", title: crash.panic },
      ],
    })), "Nothing has crashed.");
    this.shards.show(sample.shards.map((shard) => ({
      key: `${shard.shard}`,
      kind: shard.answers ? "" : "bad",
      cells: [
        shard.answers ? `shard-${shard.shard}` : `shard-${shard.shard} hangs`,
        right(count(shard.awake)), right(count(shard.dormant)), right(count(shard.parked)), right(count(shard.restarts)),
        right(bytes(shard.outbox_bytes)), right(time(shard.lag)),
      ],
    })));
    this.closes.show(sample.closes.map((close) => ({
      key: close.code, cells: [mono(close.code), close.name, right(count(close.total)), right(count(close.lately))],
    })), "No socket has ended.");
    this.#showActors(sample.actors, chaos);
    this.#showLedger(sample.ledger);
  }

  #showActors(actors, chaos) {
    this.actors.show(actors.map((actor) => {
      const exit = actor.last_exit ?? "";
      return {
        key: actor.name,
        cells: [
          actor.name, { text: actor.state, kind: actor.state === "running" ? "" : "bad" }, right(count(actor.restarts)),
          null, { text: exit, kind: "words", title: exit },
        ],
      };
    }));
    if (!chaos) return;
    // A button stays as long as its row.
    [...byId("actors").rows].forEach((row, nth) => {
      const cell = row.cells[3];
      if (cell.firstElementChild) return;
      const { name } = actors[nth];
      const button = element("button", "small danger", "Panic");
      button.type = "button";
      button.setAttribute("aria-label", `Panic ${name}`);
      button.addEventListener("click", () => this.panic(name));
      cell.append(button);
    });
  }

  #showLedger(ledger) {
    const dropped = Object.entries(ledger.dropped);
    const lost = dropped.reduce((sum, [, events]) => sum + events, 0);
    const open = ledger.offered - ledger.delivered - lost - ledger.pending;
    const line = (name, events, kind) => ({ key: name, kind, cells: [name, right(count(events))] });
    this.ledger.show([
      line("offered", ledger.offered),
      line("delivered", ledger.delivered),
      line("pending", ledger.pending),
      ...dropped.map(([reason, events]) => line(`dropped: ${reason}`, events)),
      open === 0 ? { key: "balance", kind: "good", cells: ["The sums match.", ""] } : line("on their way", open),
    ]);
  }
}
