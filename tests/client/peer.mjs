// The other side of the client in its tests: a scripted server, the sockets to it, and a clock that only tests move.
//
// Never sleeps and never answers on its own, except where a test calls `accept`: each test says frame by frame what the
// server does, and what it must have received. Used by every *.test.mjs beside it.

import assert from "node:assert/strict";
import { connect } from "../../src/http/assets/client.js";

/** Virtual time. `advance` runs what falls due, in order; `chance` is what random() says. */
export class TestClock {
  constructor() {
    this.time = 0;
    this.chance = 0.5;
    this.timers = new Map();
    this.lastTimer = 0;
    this.now = () => this.time;
    this.random = () => this.chance;
    this.setTimeout = (run, ms) => {
      this.timers.set(++this.lastTimer, { run, at: this.time + ms });
      return this.lastTimer;
    };
    this.clearTimeout = (timer) => this.timers.delete(timer);
  }

  async advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [timer, { run, at }] = due;
      this.timers.delete(timer);
      this.time = Math.max(this.time, at);
      run();
      await settled();
    }
    this.time = end;
  }

  /** When the next timer is due, from now. */
  get next() {
    return Math.min(...[...this.timers.values()].map(({ at }) => at)) - this.time;
  }
}

/** All promise callbacks that are ready have run. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A scripted server. Its `WebSocket` is what the client opens; `socket` is the latest one opened. */
export class Peer {
  constructor() {
    this.clock = new TestClock();
    this.sockets = [];
    const peer = this;
    this.WebSocket = class {
      constructor(url, protocols) {
        Object.assign(this, { url, protocols, readyState: 1, received: [], closed: null });
        peer.sockets.push(this);
      }
      send(text) {
        assert.equal(this.readyState, 1, "a frame was sent on a socket that is closed");
        this.received.push(JSON.parse(text));
      }
      close(code, reason) {
        this.readyState = 3;
        this.closed ??= { code, reason };
      }
      /** The server says something. */
      tell(frame) {
        this.onmessage({ data: JSON.stringify(frame) });
      }
      /** The socket ends, by the server or by the network. */
      end(code = 1006, reason = "") {
        this.readyState = 3;
        this.onclose({ code, reason });
      }
      /** Takes the oldest unread frame, which must be a `op` with these fields. */
      expect(op, fields = {}) {
        const frame = this.received.shift();
        assert.ok(frame, `no frame came where ${op} was expected`);
        assert.equal(frame.op, op, JSON.stringify(frame));
        for (const [name, value] of Object.entries(fields)) assert.deepEqual(frame[name], value, `${op}.${name}`);
        return frame;
      }
      reply(request, ok) {
        this.tell({ op: "reply", id: request.id, ok });
      }
      refuse(request, code, retry, more = {}) {
        this.tell({ op: "reply", id: request.id, error: { code, message: code, retry, ...more } });
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  connect(options = {}) {
    const url = "ws://dormouse.test/v1/gateway";
    return connect(url, { token: "ada", WebSocket: this.WebSocket, clock: this.clock, ...options });
  }

  /** Says hello, reads the identify, says ready. Returns the identify. */
  accept({ heartbeat_ms = 45_000, max_frame_bytes = 65_536, ...ready } = {}) {
    this.socket.tell({ op: "hello", heartbeat_ms, identify_within_ms: 10_000, max_frame_bytes, node: "n1", version: "0" });
    const identify = this.socket.expect("identify");
    const usual = { user: "ada", session: `s${this.sockets.length}`, resumed: false, generation: 0, subscriptions: [] };
    this.socket.tell({ op: "ready", memberships: [], ...usual, ...ready });
    return identify;
  }

  /** The socket breaks, the backoff passes, the next one opens. */
  async breakAndReopen() {
    const sockets = this.sockets.length;
    this.socket.end();
    for (let waited = 0; this.sockets.length === sockets; waited += 125) {
      assert.ok(waited <= 20_000, "the client did not come back");
      await this.clock.advance(125);
    }
  }
}

/** Everything a client told, by event name. */
export function record(dormouse, ...names) {
  const told = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) dormouse.on(name, (detail) => told[name].push(detail));
  return told;
}

/** Counts how often a promise settles as seen through its handlers, and with what. */
export function watch(promise) {
  const seen = { settlements: 0 };
  promise.then((ok) => Object.assign(seen, { ok, settlements: seen.settlements + 1 }),
    (error) => Object.assign(seen, { error, settlements: seen.settlements + 1 }));
  return seen;
}
