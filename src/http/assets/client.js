/**
 * The Dormouse client: one lasting connection to a Dormouse server, over as many sockets as that takes.
 *
 * Owns the socket, the session token, the cursor of every channel, and every request until it is settled. Never settles
 * a request twice, never delivers an event twice, never repeats on its own what is not safe to repeat.
 * Runs in browsers and in Node; where there is no global WebSocket (Node 20), pass the one of the `ws` package.
 * One file on purpose: it is served at `/client.js`, and can be copied, as it is.
 *
 *     connecting ──ready──▶ live ──socket ended──▶ reconnecting ──ready──▶ live
 *          └─────────── close(), or a close code of 4500–4999 ───────────▶ closed
 *
 *     const dormouse = connect("ws://localhost:8080/v1/gateway", { token: "ada" });
 *     const lobby = dormouse.subscribe("chat:lobby", { last: 50, presence: true }, (event) => show(event.data));
 *     const { offset } = await dormouse.publish("chat:lobby", { text: "hello" });
 *
 * @typedef {"connecting" | "live" | "reconnecting" | "closed"} State
 * @typedef {"now" | "later" | "never"} Retry
 * @typedef {"online" | "idle" | "busy" | "invisible"} Status
 * @typedef {{epoch: string, offset: number}} Cursor everything up to and including `offset` is known
 * @typedef {{channel: string, offset: number, from: string, at: number, data: any, key?: string}} ChannelEvent
 * @typedef {{user: string, status: Status, last_seen?: number}} Person
 * @typedef {{channel: string, epoch: string, offset: number, delivered: number, read: number, unread: number}} Membership
 * @typedef {{user: string, delivered: number, read: number, last_seen?: number}} Member
 * @typedef {{now(): number, random(): number, setTimeout(run: () => void, ms: number): any,
 *   clearTimeout(timer: any): void}} Clock
 * @typedef {object} Options
 * @property {string} [token] who we are; with open auth this is the user name
 * @property {() => string | Promise<string>} [getToken] asked for a token when none was given or the last one was refused
 * @property {Status} [status] shown to others, `online` unless set
 * @property {boolean} [acknowledge] false: what was delivered is not acknowledged by itself where we are a member
 * @property {boolean} [retry] false: no request is repeated after an error that would allow it
 * @property {number} [timeoutMs] how long a request may stay unsettled, 30 000 unless set
 * @property {typeof WebSocket} [WebSocket] where the platform has none
 * @property {Clock} [clock] time and chance, replaced in tests
 * @typedef {object} RequestOptions
 * @property {boolean} [retry] overrides the option of the connection
 * @property {number} [timeoutMs] overrides the option of the connection
 */

const PROTOCOL = "dormouse.v1.json";
/** The first wait is drawn from 0 … 250 ms, later ones from twice as much each, up to 20 s. */
const BACKOFF_BASE_MS = 250;
const BACKOFF_CAP_MS = 20_000;
/** Only a socket that was live this long resets the backoff: one that dies at once must not be reopened in a circle. */
const STEADY_MS = 5_000;
/** From opening a socket to `ready`; a server that takes longer is as good as gone. */
const OPENING_MS = 10_000;
/** How long a `heartbeat_ack` may take before the socket counts as dead. */
const ACK_MS = 10_000;
const REQUEST_MS = 30_000;
const MAX_TRIES = 5;
/** Deliveries are acknowledged together: one `ack` a channel and so often at most. */
const ACKNOWLEDGE_MS = 300;
/** A request that crashed its actor twice would crash it a third time. */
const MAX_CRASHES = 2;
/** Bounded on purpose: whoever publishes into a dead network is told, instead of filling the memory. */
const MAX_PENDING = 1_024;
/** The newest events that are remembered until a membership may begin. */
const MOST_FOREIGN = 1000;
// Close codes we send. 1000 ends the session; any other parks it, so that the next socket can resume.
const BYE = 1000;
const HEARTBEAT_TIMEOUT = 4001;
const DRAINING = 4003;
const AUTH_FAILED = 4501;
const TOKEN_EXPIRED = 4502;

/** @type {Clock} */
const PLATFORM = {
  now: () => performance.now(),
  random: Math.random,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * Why a request failed or a connection ended. `code` is one of the server's error codes, or, from this side of the wire,
 * `timeout`, `too_large`, `overloaded`, `connection_lost` (the answer to a request that is not safe to repeat is
 * unknown) or `closed` (`close_code` says why).
 */
export class DormouseError extends Error {
  /** @param {{code: string, message: string, retry?: Retry, retry_after_ms?: number, close_code?: number}} fault */
  constructor({ code, message, retry = "never", retry_after_ms, close_code }) {
    super(message);
    this.name = "DormouseError";
    this.code = code;
    /** @type {Retry} */
    this.retry = retry;
    this.retry_after_ms = retry_after_ms;
    this.close_code = close_code;
  }
}

/** Exponential backoff with full jitter: clients that lost one server do not come back as one wave. */
export class Backoff {
  #random;
  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
    this.tries = 0;
  }
  /** @returns {number} milliseconds to wait before the next try */
  next() {
    return this.#random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.tries++);
  }
  reset() {
    this.tries = 0;
  }
}

/** One wanted channel. It stays wanted across sockets and sessions until `unsubscribe()`. */
export class Subscription {
  /** @type {Cursor | null} where to go on after a lost socket */
  cursor = null;
  /** False after events were missed that will not come; a `gap` names them. */
  recovered = true;
  /** Events up to this offset were delivered; `last` may bring some from below the cursor first. */
  floor = -1;
  /** Of others, while the user is no member here: a membership that begun before them counts them. @type {number[]} */
  foreign = [];
  /** The `subscribe` request on its way, if any. @type {Request | null} */
  opening = null;
  #end;

  constructor(channel, options, onEvent, end) {
    this.channel = channel;
    this.options = options;
    this.onEvent = onEvent;
    this.#end = end;
    /** Settles with the first answer: `{channel, epoch, offset, recovered, presence?}`. @type {Promise<any>} */
    this.ready = new Promise((resolve, reject) => Object.assign(this, { opened: resolve, failed: reject }));
    this.ready.catch(() => {}); // also told by the `error` event, so nobody has to wait here
  }

  /** The fields of the next `subscribe`: from the cursor when there is one, else as first asked. */
  request() {
    const { from = undefined, last = undefined, presence = undefined } = this.options;
    const start = this.cursor ?? from;
    return { channel: this.channel, ...(start ? { from: start } : { last }), presence };
  }

  /**
   * Takes over what the server says about this channel. An offset means nothing in another epoch, so it starts anew.
   * @param {Membership} [membership] without a cursor of ours the server goes on from the one it keeps
   */
  established({ epoch, offset, recovered }, membership) {
    const { from = undefined, last = 0 } = this.options;
    const kept = membership && { epoch: membership.epoch, offset: Math.max(membership.delivered, this.floor) };
    const start = this.cursor ?? from ?? kept;
    this.recovered = recovered !== false;
    if (start?.epoch === epoch) {
      this.floor = Math.max(this.floor, start.offset);
      this.cursor = { epoch, offset: start.offset };
    } else if (start) {
      this.floor = -1;
      this.cursor = { epoch, offset: 0 };
    } else {
      // A socket lost before the first replayed event must bring that replay again, so the cursor stays before it.
      this.floor = last > 0 ? -1 : offset;
      this.cursor = { epoch, offset: Math.max(0, offset - last) };
    }
  }

  /** @param {ChannelEvent} event @returns {boolean} false for one that was delivered before */
  admit(event) {
    if (event.offset <= this.floor) return false;
    this.floor = event.offset;
    if (this.cursor) this.cursor.offset = event.offset;
    return true;
  }

  /** No more events from here. @returns {Promise<void>} */
  unsubscribe() {
    return this.#end(this);
  }
}

/** One request until it is settled: `queued ⇄ sent (id) → settled`, with a pause (timer) between two tries. */
class Request {
  /** The id of the sending that waits for its reply; each sending has its own, so no reply can meet the wrong try. */
  id = 0;
  tries = 0;
  crashes = 0;
  timer = null;
  deadline = null;
  constructor(op, fields, repeat, retry, maxTries) {
    Object.assign(this, { op, fields, repeat, retry, maxTries });
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }
  frame() {
    return { op: this.op, id: this.id, ...(typeof this.fields === "function" ? this.fields() : this.fields) };
  }
}

/**
 * The connection. Events, for `on(name, listener)`:
 *
 * | name | detail |
 * |---|---|
 * | `state` | `{state, previous, attempt, retry_in_ms?, code?, reason?, error?}`; `retry_in_ms` while it waits |
 * | `ready` | the `ready` frame, without its secret |
 * | `subscribed` | `{channel, epoch, offset, recovered}`, on every socket anew |
 * | `roster` | `{channel, count, users}`: who is there, in place of all known before |
 * | `presence` | `{channel, joined, left, changed, count}`: changes since the roster |
 * | `membership` | a {@link Membership} that is new or has changed, `{channel, left: true}` for one that has ended |
 * | `event`, `signal`, `receipt`, `gap`, `restarted`, `reconnect` | the frame |
 * | `error` | a {@link DormouseError} that belongs to no promise |
 */
export class Dormouse {
  /** @type {State} */ state = "connecting";
  /** @type {string | null} */ user = null;
  /** @type {number | null} generation of our actor; one more after each crash */ generation = null;
  /** Crashes of our actor that this connection saw. */ restarts = 0;
  /** Sockets opened so far. */ sockets = 0;
  /** Events dropped because they had been delivered. */ doubles = 0;
  /** @type {number | null} last round trip, in milliseconds */ rtt = null;
  /** @type {string | null} */ node = null;
  /** Where we are a member, how far we got and what is unread; by channel. @type {Map<string, Membership>} */
  memberships = new Map();

  #url;
  #WebSocket;
  #clock;
  #backoff;
  #token;
  #getToken;
  #retry;
  #timeoutMs;
  #status;
  #socket = null;
  #session;
  #heartbeatMs = 45_000;
  #maxFrameBytes = Infinity;
  #liveSince = null;
  #askToken = false;
  /** The token in use came from `getToken` after a refusal: a second refusal is final. */
  #tokenRenewed = false;
  #attempt = 0;
  #lastId = 0;
  /** @type {Map<string, Subscription>} */ #subscriptions = new Map();
  /** All unsettled requests, oldest first. @type {Set<Request>} */ #requests = new Set();
  /** Those that were sent on this socket. @type {Map<number, Request>} */ #sent = new Map();
  #pings = [];
  /** @type {Map<string, string>} the last gap told per channel */ #gaps = new Map();
  #timers = { open: null, opening: null, beat: null, ack: null, leave: null };
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  #acknowledge;
  /** Channels with deliveries to acknowledge, and the timer that will. @type {Map<string, any>} */ #acks = new Map();
  #keyPrefix;
  #keys = 0;
  #online = () => this.reconnectNow();

  /** @param {string} url of the gateway @param {Options} options */
  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws");
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError("there is no global WebSocket here: pass one as options.WebSocket");
    this.#clock = options.clock ?? PLATFORM;
    this.#backoff = new Backoff(() => this.#clock.random());
    this.#token = options.token;
    this.#getToken = options.getToken;
    this.#askToken = options.token === undefined && options.getToken !== undefined;
    this.#status = options.status;
    this.#retry = options.retry ?? true;
    this.#acknowledge = options.acknowledge ?? true;
    this.#timeoutMs = options.timeoutMs ?? REQUEST_MS;
    const part = () => Math.floor(this.#clock.random() * 2 ** 40).toString(36);
    this.#keyPrefix = part() + part();
    globalThis.addEventListener?.("online", this.#online);
    this.#open();
  }

  /** @param {string} name @param {(detail: any) => void} listener @returns {() => void} takes the listener off again */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** How long the present socket has been live, in milliseconds; null when there is none. */
  get uptimeMs() {
    return this.#liveSince === null ? null : this.#clock.now() - this.#liveSince;
  }

  /**
   * Events of one channel, each once and in order, across lost sockets.
   * @param {string} channel
   * @param {{from?: Cursor, last?: number, presence?: boolean}} options go on after a cursor, or begin with the last n
   * @param {(event: ChannelEvent) => void} [onEvent]
   * @returns {Subscription}
   */
  subscribe(channel, options = {}, onEvent = () => {}) {
    const known = this.#subscriptions.get(channel);
    if (known && !known.implicit) throw fault("bad_request", `already subscribed to ${channel}`);
    const subscription = new Subscription(channel, options, onEvent, (ended) => this.#unsubscribe(ended));
    this.#subscriptions.set(channel, subscription);
    this.#subscribe(subscription, MAX_TRIES);
    return subscription;
  }

  /**
   * On a durable channel it resolves once the event is on disk. Repeating it is safe: all tries carry the same key.
   * @param {string} channel @param {any} data @param {RequestOptions & {key?: string}} options
   * @returns {Promise<{offset: number, at: number, duplicate: boolean}>}
   */
  publish(channel, data, { key = this.newKey(), ...options } = {}) {
    return this.#request("publish", { channel, data, key }, options);
  }

  /** @returns {string} a key for `publish` that no other publish has */
  newKey() {
    return `${this.#keyPrefix}-${++this.#keys}`;
  }

  /** Ephemeral: sent now or not at all. @param {string} channel @param {string} kind @param {any} [data] */
  signal(channel, kind, data) {
    if (this.state === "live") this.#send({ op: "signal", channel, kind, data });
  }

  /** @param {string} channel @returns {Promise<{count: number, users: Person[]}>} */
  presence(channel, options) {
    return this.#request("presence", { channel }, options);
  }

  /** Who belongs to a channel and how far they got. @returns {Promise<{count: number, members: Member[]}>} */
  members(channel, options) {
    return this.#request("members", { channel }, options);
  }

  /** @param {Status} status @returns {Promise<object>} */
  setStatus(status, options) {
    this.#status = status;
    return this.#request("status", { status }, options);
  }

  /** @returns {Promise<{user: string, session: string, connection: string, generation: number, subscriptions: any[]}>} */
  whoami(options) {
    return this.#request("whoami", {}, options);
  }

  /** @param {string} channel @param {{after?: number, before?: number, limit: number}} range */
  history(channel, range, options) {
    return this.#request("history", { channel, ...range }, options);
  }

  /**
   * Durable membership of the user: all his sessions get the channel's events from now on, as `event`s, also those that
   * pass while he is away. @param {string} channel @returns {Promise<{channel: string, epoch: string, offset: number}>}
   */
  join(channel, options) {
    const request = this.#enqueue("join", { channel }, options, { repeat: true, maxTries: MAX_TRIES });
    // In the same turn as the reply: the events that follow it are judged by this cursor.
    request.resolve = before(request.resolve, (answer) => this.#joined(answer));
    return request.promise;
  }

  /** Ends it, for all sessions. @param {string} channel @returns {Promise<object>} */
  leave(channel, options) {
    return this.#request("leave", { channel }, options).then((answer) => {
      this.#left(channel);
      return answer;
    });
  }

  /**
   * Moves the user's cursors forward, never back; reading implies delivery. @param {string} channel
   * @param {{delivered?: number, read?: number}} cursors @returns {Promise<{delivered: number, read: number}>}
   */
  ack(channel, cursors, options) {
    return this.#request("ack", { channel, ...cursors }, options).then((answer) => {
      this.#moved(channel, answer);
      return answer;
    });
  }

  /**
   * Calls the application's own backend (`hooks.rpc.url` on the server) and resolves with what it answers. Never repeated:
   * what a call does there, nobody here knows. Refused with `not_found` when the server has no such backend.
   * @param {string} method
   * @param {unknown} [data]
   * @param {RequestOptions} [options]
   * @returns {Promise<unknown>}
   */
  async rpc(method, data, options) {
    const answer = await this.#request("rpc", { method, data }, { ...options, retry: false }, { repeat: false });
    return answer.data;
  }

  /**
   * Harms our own actor, where the server allows it. `panic` rejects with `crashed`: that is the answer of the actor that
   * came back. Never repeated.
   * @param {"panic" | "stall"} fault @param {number} [ms]
   */
  chaos(fault, ms) {
    return this.#request("chaos", { fault, ms }, { retry: false }, { repeat: false });
  }

  /** Measures a round trip. @returns {Promise<number>} milliseconds */
  ping() {
    if (this.state !== "live") return Promise.reject(this.#lostError());
    return new Promise((resolve, reject) => this.#beat({ at: this.#clock.now(), resolve, reject }));
  }

  /** Ends a wait between two sockets; also done when the browser says that it is online again. */
  reconnectNow() {
    if (this.state !== "reconnecting" || this.#socket || this.#timers.open === null) return;
    this.#stop("open");
    this.#backoff.reset();
    this.#open();
  }

  /** Ends the session for good. Whatever is unsettled is rejected with `closed`. */
  close() {
    this.#end(fault("closed", "the connection was closed from this side"));
  }

  // ── the socket ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #open() {
    const attempt = ++this.#attempt;
    if (this.state === "reconnecting") this.#become("reconnecting", {});
    if (this.#askToken) {
      try {
        this.#token = await this.#getToken();
        this.#askToken = false;
      } catch (error) {
        if (attempt === this.#attempt) this.#lost({ code: 0, reason: `no token: ${error?.message ?? error}` });
        return;
      }
      if (attempt !== this.#attempt) return;
    }
    const socket = new this.#WebSocket(this.#url, [PROTOCOL]);
    this.#socket = socket;
    this.sockets += 1;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost({ code, reason });
    socket.onerror = () => {}; // a close follows and says more
    this.#start("opening", OPENING_MS, () => this.#leaveSocket(HEARTBEAT_TIMEOUT, "no ready in time"));
  }

  /** Leaves the present socket for another; the code is not 1000, so the server keeps the session. */
  #leaveSocket(code, reason, delay) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code, reason);
    if (code === HEARTBEAT_TIMEOUT) socket?.terminate?.(); // `ws` would wait for an answer that a dead peer cannot give
    this.#lost({ code, reason }, delay);
  }

  #lost({ code, reason }, delay) {
    const steady = this.#liveSince !== null && this.#clock.now() - this.#liveSince >= STEADY_MS;
    this.#detach();
    if (code >= 4500 && code <= 4999) {
      const refused = code === AUTH_FAILED || code === TOKEN_EXPIRED;
      if (!refused || !this.#getToken || this.#tokenRenewed) {
        const why = `the server closed the connection: ${reason || "no reason given"} (${code})`;
        return this.#end(fault("closed", why, { close_code: code }));
      }
      this.#askToken = true;
      this.#tokenRenewed = true;
      delay = 0;
    }
    for (const request of [...this.#requests]) {
      if (request.id !== 0 && !request.repeat) this.#settle(request, this.#lostError());
      request.id = 0;
    }
    if (steady) this.#backoff.reset();
    const wait = delay ?? this.#backoff.next();
    this.#start("open", wait, () => this.#open());
    this.#become("reconnecting", { retry_in_ms: wait, code, reason });
  }

  /** Forgets everything that belongs to one socket. */
  #detach() {
    for (const name of Object.keys(this.#timers)) this.#stop(name);
    this.#socket = null;
    this.#liveSince = null;
    this.#sent.clear();
    for (const ping of this.#pings.splice(0)) ping.reject?.(this.#lostError());
    for (const timer of this.#acks.values()) this.#clock.clearTimeout(timer);
    this.#acks.clear();
  }

  #end(error) {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#attempt += 1;
    this.#detach();
    globalThis.removeEventListener?.("online", this.#online);
    if (socket && socket.readyState < 2) socket.close(BYE, "bye");
    const requests = [...this.#requests];
    this.#become("closed", { code: error.close_code, error });
    for (const request of requests) this.#settle(request, error);
    this.#subscriptions.clear();
  }

  #send(frame) {
    const text = JSON.stringify(frame);
    // A frame above the limit would cost the whole socket (1009); refuse it here, where it costs one request.
    if (text.length * 3 > this.#maxFrameBytes && new TextEncoder().encode(text).length > this.#maxFrameBytes) {
      throw fault("too_large", `the frame is larger than the server's limit of ${this.#maxFrameBytes} bytes`);
    }
    this.#socket.send(text);
  }

  // ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(text) {
    const frame = JSON.parse(text);
    switch (frame.op) {
      case "hello": return this.#hello(frame);
      case "ready": return this.#ready(frame);
      case "reply": return this.#reply(frame);
      case "event": return this.#event(frame);
      case "heartbeat_ack": return this.#acknowledged();
      case "gap": return this.#gap(frame);
      case "restarted":
        this.generation = frame.generation;
        this.restarts += 1;
        return this.#emit("restarted", frame);
      case "reconnect":
        this.#start("leave", this.#clock.random() * frame.after_ms, () => this.#leaveSocket(DRAINING, frame.reason, 0));
        return this.#emit("reconnect", frame);
      case "error":
        if (this.#sent.has(frame.id)) return this.#reply({ id: frame.id, error: frame });
        return this.#emit("error", new DormouseError(frame));
      case "receipt":
        if (frame.user === this.user) this.#moved(frame.channel, frame);
        return this.#emit("receipt", frame);
      case "membership": return frame.left ? this.#left(frame.channel) : this.#began(frame);
      case "signal":
      case "presence":
        return this.#emit(frame.op, frame);
      // Ops of later servers are none of our business.
    }
  }

  #hello(frame) {
    this.#heartbeatMs = frame.heartbeat_ms;
    this.#maxFrameBytes = frame.max_frame_bytes ?? Infinity;
    this.node = frame.node;
    const cursors = {};
    for (const { channel, cursor } of this.#subscriptions.values()) if (cursor) cursors[channel] = cursor;
    this.#send({ op: "identify", token: this.#token, resume: this.#session, cursors, status: this.#status });
  }

  #ready(frame) {
    const { session, ...told } = frame;
    this.#stop("opening");
    this.#session = session;
    this.#tokenRenewed = false;
    this.#liveSince = this.#clock.now();
    this.user = frame.user;
    this.generation = frame.generation;
    this.memberships = new Map((frame.memberships ?? []).map((membership) => [membership.channel, { ...membership }]));
    // The first beat at a random moment, so that clients who came back together do not beat together.
    this.#start("beat", this.#clock.random() * this.#heartbeatMs, () => this.#beat({ at: this.#clock.now() }));
    const queued = [...this.#requests].filter((request) => request.timer === null);
    this.#become("live", {});
    this.#emit("ready", told);
    if (this.state !== "live") return; // a listener closed us
    this.#restore(frame);
    for (const request of queued) if (request.id === 0 && this.#requests.has(request)) this.#transmit(request);
  }

  /** Brings every wanted channel back; what the session, the URL or a membership subscribed is adopted. */
  #restore({ resumed, subscriptions = [] }) {
    const listed = new Set();
    for (const told of subscriptions) {
      listed.add(told.channel);
      let subscription = this.#subscriptions.get(told.channel);
      if (!subscription) subscription = this.#implicit(told.channel);
      if (subscription.opening) continue;
      subscription.established(told, this.memberships.get(told.channel));
      this.#emit("subscribed", told);
    }
    for (const subscription of this.#subscriptions.values()) {
      const { channel, opening, implicit, options } = subscription;
      if (opening || implicit) continue;
      // A cursor subscribes a channel without presence, so a fresh session has to be asked for that.
      if (!listed.has(channel) || (options.presence && !resumed)) this.#subscribe(subscription, Infinity);
      else if (options.presence) {
        const roster = (answer) => this.#emit("roster", { channel, ...answer });
        this.presence(channel).then(roster, (error) => this.#emit("error", error));
      }
    }
  }

  #event(frame) {
    // A membership that began elsewhere subscribes without a word.
    const subscription = this.#subscriptions.get(frame.channel) ?? this.#implicit(frame.channel);
    if (!subscription.admit(frame)) {
      this.doubles += 1;
      return;
    }
    this.#counted(frame);
    this.#call(subscription.onEvent, frame);
    this.#emit("event", frame);
  }

  /** A channel nobody here has asked for. */
  #implicit(channel) {
    const subscription = new Subscription(channel, {}, () => {}, (ended) => this.#unsubscribe(ended));
    subscription.implicit = true;
    this.#subscriptions.set(channel, subscription);
    return subscription;
  }

  // ── memberships ─────────────────────────────────────────────────────────────────────────────────────────────────

  #joined({ channel, epoch, offset }) {
    if (!this.#subscriptions.has(channel)) this.#implicit(channel).established({ epoch, offset });
    if (this.memberships.has(channel)) return;
    const membership = { channel, epoch, offset, delivered: offset, read: offset, unread: 0 };
    this.memberships.set(channel, membership);
    this.#emit("membership", membership);
  }

  /** The user became a member, perhaps without a word of ours: by the first message of somebody else, or on another device. */
  #began({ op, ...membership }) {
    const { channel, epoch, offset } = membership;
    if (!this.#subscriptions.has(channel)) this.#implicit(channel).established({ epoch, offset });
    if (this.memberships.has(channel)) return;
    // Whoever had subscribed by himself may have heard more already.
    const { floor, foreign } = this.#subscriptions.get(channel);
    if (floor > offset) Object.assign(membership, { offset: floor, unread: foreign.filter((one) => one > offset).length });
    this.memberships.set(channel, membership);
    this.#emit("membership", membership);
    if (floor > offset) this.#acknowledgeSoon(channel);
  }

  #left(channel) {
    this.#subscriptions.delete(channel);
    if (this.memberships.delete(channel)) this.#emit("membership", { channel, left: true });
  }

  /** A new event in a channel where we may be a member: counts what is unread, and acknowledges it in a moment. */
  #counted({ channel, offset, from }) {
    const membership = this.memberships.get(channel);
    // What `ready` had counted already comes again as an event.
    if (membership && offset > membership.offset) {
      membership.offset = offset;
      if (from !== this.user) membership.unread += 1;
      this.#emit("membership", membership);
    }
    if (membership && offset > membership.delivered) this.#acknowledgeSoon(channel);
    if (!membership && from !== this.user) {
      const { foreign } = this.#subscriptions.get(channel);
      if (foreign.push(offset) > MOST_FOREIGN) foreign.shift();
    }
  }

  #acknowledgeSoon(channel) {
    if (!this.#acknowledge || this.#acks.has(channel)) return;
    this.#acks.set(channel, this.#clock.setTimeout(() => this.#acknowledgeNow(channel), ACKNOWLEDGE_MS));
  }

  /** Nobody waits for it: the next one says it again. */
  #acknowledgeNow(channel) {
    this.#acks.delete(channel);
    const delivered = this.#subscriptions.get(channel)?.floor ?? 0;
    if (this.state === "live" && delivered > 0) this.#send({ op: "ack", channel, delivered });
  }

  /** Our cursors are here now. How many events others sent between `read` and the head only the server knows. */
  #moved(channel, { delivered, read }) {
    const membership = this.memberships.get(channel);
    if (!membership || (membership.delivered === delivered && membership.read === read)) return;
    if (read > membership.read) {
      membership.unread = Math.max(0, Math.min(membership.unread, membership.offset - read));
    }
    Object.assign(membership, { delivered, read });
    this.#emit("membership", membership);
  }

  /** The cursor does not move: a log that still has these events may bring them with the next socket. */
  #gap(frame) {
    const name = `${this.#subscriptions.get(frame.channel)?.cursor?.epoch} ${frame.from} ${frame.to}`;
    if (this.#gaps.get(frame.channel) === name) return; // told again because we came back with the same cursor
    this.#gaps.set(frame.channel, name);
    this.#emit("gap", frame);
  }

  // ── heartbeats ──────────────────────────────────────────────────────────────────────────────────────────────────

  #beat(ping) {
    this.#pings.push(ping);
    this.#send({ op: "heartbeat" });
    this.#start("beat", this.#heartbeatMs, () => this.#beat({ at: this.#clock.now() }));
    if (this.#timers.ack === null) this.#awaitAck();
  }

  #acknowledged() {
    const ping = this.#pings.shift();
    if (!ping) return;
    this.rtt = this.#clock.now() - ping.at;
    this.#stop("ack");
    if (this.#pings.length > 0) this.#awaitAck();
    ping.resolve?.(this.rtt);
  }

  #awaitAck() {
    this.#start("ack", ACK_MS, () => this.#leaveSocket(HEARTBEAT_TIMEOUT, "no heartbeat_ack"));
  }

  // ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

  #request(op, fields, options = {}, { repeat = true, maxTries = MAX_TRIES } = {}) {
    return this.#enqueue(op, fields, options, { repeat, maxTries }).promise;
  }

  #enqueue(op, fields, { retry = this.#retry, timeoutMs = this.#timeoutMs } = {}, { repeat, maxTries }) {
    const request = new Request(op, fields, repeat, retry, maxTries);
    if (this.state === "closed") request.reject(fault("closed", "the connection is closed"));
    else if (!repeat && this.state !== "live") request.reject(this.#lostError());
    else if (this.#requests.size >= MAX_PENDING) {
      request.reject(fault("overloaded", `${MAX_PENDING} requests are waiting already`, { retry: "later" }));
    } else {
      this.#requests.add(request);
      const late = fault("timeout", `no answer to ${op} in ${timeoutMs} ms`, { retry: "later" });
      if (timeoutMs !== Infinity) request.deadline = this.#clock.setTimeout(() => this.#settle(request, late), timeoutMs);
      if (this.state === "live") this.#transmit(request);
    }
    return request;
  }

  #transmit(request) {
    request.id = ++this.#lastId;
    request.tries += 1;
    this.#sent.set(request.id, request);
    try {
      this.#send(request.frame());
    } catch (error) {
      this.#settle(request, error);
    }
  }

  #reply({ id, ok, error }) {
    const request = this.#sent.get(id);
    if (!request) return;
    this.#sent.delete(id);
    if (!error) return this.#settle(request, null, ok);
    if (error.code === "crashed") request.crashes += 1;
    const again = request.repeat && request.retry && error.retry !== "never" && request.tries < request.maxTries;
    if (!again || request.crashes >= MAX_CRASHES) return this.#settle(request, new DormouseError(error));
    request.id = 0;
    request.timer = this.#clock.setTimeout(() => {
      request.timer = null;
      if (this.state === "live") this.#transmit(request);
    }, this.#pause(request, error));
  }

  /** Never earlier than the server asked for, and a little later at random. */
  #pause({ tries }, { retry, retry_after_ms = 0 }) {
    if (retry === "now" && retry_after_ms === 0 && tries === 1) return 0;
    return retry_after_ms + this.#clock.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** tries);
  }

  /** The only place where a request ends; the second call for the same one does nothing. */
  #settle(request, error, ok) {
    if (!this.#requests.delete(request)) return;
    this.#sent.delete(request.id);
    this.#clock.clearTimeout(request.timer);
    this.#clock.clearTimeout(request.deadline);
    if (error) request.reject(error);
    else request.resolve(ok);
  }

  #subscribe(subscription, maxTries) {
    const { channel } = subscription;
    const known = { repeat: true, maxTries };
    const retry = maxTries === Infinity || this.#retry; // a channel that was open is wanted back in any case
    const request = this.#enqueue("subscribe", () => subscription.request(), { retry, timeoutMs: Infinity }, known);
    subscription.opening = request;
    const wanted = () => subscription.opening === request && this.#subscriptions.get(channel) === subscription;
    // Taken over in the same turn as the reply, because the events that follow it are judged by the new cursor.
    request.resolve = before(request.resolve, (answer) => {
      if (!wanted()) return;
      subscription.opening = null;
      subscription.established(answer);
      const { presence, ...told } = answer;
      this.#emit("subscribed", told);
      if (presence) this.#emit("roster", { channel, ...presence });
    });
    request.promise.then(subscription.opened, (error) => {
      if (!wanted()) return subscription.failed(error);
      this.#subscriptions.delete(channel);
      subscription.failed(error);
      if (error.code !== "closed") this.#emit("error", error);
    });
  }

  #unsubscribe(subscription) {
    const { channel, opening } = subscription;
    if (this.#subscriptions.get(channel) !== subscription) return Promise.resolve();
    this.#subscriptions.delete(channel);
    if (opening) this.#settle(opening, fault("closed", `unsubscribed from ${channel}`));
    return this.#request("unsubscribe", { channel }).then(() => {
      // A session resumed in between had brought it back, and its cursor would do so again.
      if (this.#subscriptions.get(channel)?.implicit) this.#subscriptions.delete(channel);
    });
  }

  // ── small things ────────────────────────────────────────────────────────────────────────────────────────────────

  #become(state, detail) {
    const previous = this.state;
    this.state = state;
    this.#emit("state", { state, previous, attempt: this.#backoff.tries, ...detail });
  }

  #emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) this.#call(listener, detail);
  }

  /** A listener that throws is its author's error to see, and must not end the handling of a frame. */
  #call(listener, detail) {
    try {
      listener(detail);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }

  #start(name, ms, run) {
    this.#stop(name);
    this.#timers[name] = this.#clock.setTimeout(() => {
      this.#timers[name] = null;
      run();
    }, ms);
  }

  #stop(name) {
    if (this.#timers[name] !== null) this.#clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = null;
  }

  #lostError() {
    return fault("connection_lost", "the socket was lost before an answer came", { retry: "later" });
  }
}

/**
 * Opens a connection and keeps it open.
 * @param {string} url like `wss://example.org/v1/gateway` @param {Options} [options]
 */
export function connect(url, options) {
  return new Dormouse(url, options);
}

const fault = (code, message, more = {}) => new DormouseError({ code, message, ...more });

const before = (then, first) => (value) => {
  first(value);
  then(value);
};
