/**
 * Types of the Dormouse client, `client.js` beside this file: copy both, and `import … from "./client.js"` finds these.
 *
 * What the server sends is typed as the protocol promises it. What applications publish is theirs: `subscribe<Message>(…)`
 * says what a channel carries, without a check at run time.
 */

/** `connecting → live ⇄ reconnecting`, and from everywhere to `closed`. */
export type State = "connecting" | "live" | "reconnecting" | "closed";
/** When the same request may be sent again. */
export type Retry = "now" | "later" | "never";
export type Status = "online" | "idle" | "busy" | "invisible";

/** The server's error codes, and those of this side: `timeout`, `too_large`, `overloaded`, `connection_lost`, `closed`. */
export type ErrorCode =
  | "bad_frame" | "bad_request" | "unknown_op" | "not_identified" | "auth_failed" | "forbidden" | "not_found" | "too_large"
  | "rate_limited" | "overloaded" | "crashed" | "unavailable" | "timeout" | "internal"
  | "connection_lost" | "closed";

/** Everything up to and including `offset` is known. */
export interface Cursor {
  epoch: string;
  offset: number;
}

/** A publication. */
export interface ChannelEvent<Data = unknown> {
  channel: string;
  /** Rises, need not be dense. */
  offset: number;
  from: string;
  /** Unix milliseconds. */
  at: number;
  data: Data;
  key?: string;
}

/** Events `from` to `to`, both included, that will not come. */
export interface Gap {
  channel: string;
  from: number;
  to: number;
  reason: "catch_up_limit" | "retention" | "overflow" | "crash";
}

/** Said and not kept. */
export interface Signal {
  channel: string;
  from: string;
  kind: string;
  data?: unknown;
}

/** Somebody's cursors have moved. */
export interface Receipt {
  channel: string;
  user: string;
  delivered: number;
  read: number;
}

export interface Person {
  user: string;
  status: Status;
  /** Unix milliseconds; only in lists. */
  last_seen?: number;
}

export interface Roster {
  count: number;
  users: Person[];
}

export interface PresenceChange {
  channel: string;
  joined: Person[];
  left: string[];
  changed: Person[];
  count: number;
}

export interface Membership {
  channel: string;
  epoch: string;
  offset: number;
  delivered: number;
  read: number;
  unread: number;
}

export interface Member {
  user: string;
  delivered: number;
  read: number;
  last_seen?: number;
}

export interface Published {
  offset: number;
  at: number;
  /** The key had been published before, at that offset. */
  duplicate: boolean;
}

/** What a socket said about a channel. */
export interface Subscribed {
  channel: string;
  epoch: string;
  /** The head at that moment. */
  offset: number;
  /** Nothing after the cursor asked for is missing. */
  recovered: boolean;
}

export interface Whoami {
  user: string;
  session: string;
  connection: string;
  generation: number;
  subscriptions: string[];
}

/** What a `state` listener is told. */
export interface StateChange {
  state: State;
  previous: State;
  attempt: number;
  /** While it waits between two sockets. */
  retry_in_ms?: number;
  /** Close code and reason of the socket that was lost. */
  code?: number;
  reason?: string;
  /** With `closed`. */
  error?: DormouseError;
}

/** What listeners are told, by name. */
export interface Events {
  state: StateChange;
  ready: {
    user: string;
    resumed: boolean;
    generation: number;
    subscriptions: Subscribed[];
    memberships: Membership[];
  };
  /** On every socket anew. */
  subscribed: Subscribed;
  event: ChannelEvent;
  gap: Gap;
  signal: Signal;
  /** Who is there, in place of all known before. */
  roster: Roster & { channel: string };
  presence: PresenceChange;
  receipt: Receipt;
  /** New or changed; `left` for one that has ended. */
  membership: (Membership & { left?: undefined }) | { channel: string; left: true };
  restarted: { generation: number; request?: number; lost: number };
  reconnect: { after_ms: number; reason: string };
  /** One that belongs to no promise. */
  error: DormouseError;
}

/** The part of a WebSocket that is used; the browser's, Node's and that of the `ws` package have it. */
export interface SocketLike {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Clock {
  now(): number;
  random(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: any): void;
}

export interface Options {
  /** Who we are; with open auth this is the user name. */
  token?: string;
  /** Asked for a token when none was given or the last one was refused. */
  getToken?: () => string | Promise<string>;
  /** Shown to others, `online` unless set. */
  status?: Status;
  /** False: what was delivered is not acknowledged by itself where we are a member. */
  acknowledge?: boolean;
  /** False: no request is repeated after an error that would allow it. */
  retry?: boolean;
  /** How long a request may stay unsettled, 30 000 unless set. */
  timeoutMs?: number;
  /** Where the platform has none, as Node before 22: that of the `ws` package. */
  WebSocket?: new (url: string, protocols?: string[]) => SocketLike;
  /** Time and chance, replaced in tests. */
  clock?: Clock;
}

export interface RequestOptions {
  /** Overrides the option of the connection. */
  retry?: boolean;
  /** Overrides the option of the connection. */
  timeoutMs?: number;
}

export interface SubscribeOptions {
  /** Go on after this. */
  from?: Cursor;
  /** Begin with the newest n. */
  last?: number;
  /** Also tell `roster` and `presence`. */
  presence?: boolean;
}

/** Why a request failed or a connection ended. */
export class DormouseError extends Error {
  constructor(fault: {
    code: ErrorCode;
    message: string;
    retry?: Retry;
    retry_after_ms?: number;
    close_code?: number;
  });
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly retry_after_ms?: number;
  /** Why the server closed the connection, with `closed`. */
  readonly close_code?: number;
}

/** Exponential backoff with full jitter. */
export class Backoff {
  constructor(random: () => number);
  tries: number;
  /** Milliseconds to wait before the next try. */
  next(): number;
  reset(): void;
}

/** One wanted channel. It stays wanted across sockets and sessions until `unsubscribe()`. Made by {@link Dormouse.subscribe}. */
export class Subscription {
  private constructor();
  readonly channel: string;
  /** Settles with the first answer. */
  readonly ready: Promise<Subscribed & { presence?: Roster }>;
  /** Where to go on after a lost socket; worth keeping where the page may be closed. */
  readonly cursor: Cursor | null;
  /** False after events were missed that will not come; a `gap` names them. */
  readonly recovered: boolean;
  unsubscribe(): Promise<void>;
}

/** One lasting connection. Made by {@link connect}. */
export class Dormouse {
  constructor(url: string, options?: Options);
  readonly state: State;
  readonly user: string | null;
  /** Of our actor; one more after each crash. */
  readonly generation: number | null;
  /** Crashes of our actor that this connection saw. */
  readonly restarts: number;
  /** Sockets opened so far. */
  readonly sockets: number;
  /** Events dropped because they had been delivered. */
  readonly doubles: number;
  /** The last round trip, in milliseconds. */
  readonly rtt: number | null;
  readonly node: string | null;
  /** By channel. */
  readonly memberships: ReadonlyMap<string, Membership>;
  /** How long the present socket has been live, in milliseconds. */
  get uptimeMs(): number | null;

  /** Gives a function that takes the listener off again. */
  on<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void;
  /** Events of one channel, each once and in order, across lost sockets. */
  subscribe<Data = unknown>(
    channel: string,
    options?: SubscribeOptions,
    onEvent?: (event: ChannelEvent<Data>) => void,
  ): Subscription;
  /** On a durable channel it resolves once the event is on disk. Safe over lost sockets: all tries carry the same key. */
  publish(channel: string, data: unknown, options?: RequestOptions & { key?: string }): Promise<Published>;
  /** A key for `publish` that no other publish has. */
  newKey(): string;
  /** Ephemeral: sent now or not at all. */
  signal(channel: string, kind: string, data?: unknown): void;
  presence(channel: string, options?: RequestOptions): Promise<Roster>;
  /** Who belongs to a channel and how far they got. */
  members(channel: string, options?: RequestOptions): Promise<{ count: number; members: Member[] }>;
  setStatus(status: Status, options?: RequestOptions): Promise<object>;
  whoami(options?: RequestOptions): Promise<Whoami>;
  /** `after` gives the oldest after it, `before` the newest before it, neither the newest; all in rising order. */
  history<Data = unknown>(
    channel: string,
    range: { after?: number; before?: number; limit: number },
    options?: RequestOptions,
  ): Promise<{ events: ChannelEvent<Data>[]; more: boolean }>;
  /** Durable membership: all sessions of the user get the channel's events, also those that pass while he is away. */
  join(channel: string, options?: RequestOptions): Promise<{ channel: string; epoch: string; offset: number }>;
  /** Ends it, for all sessions. */
  leave(channel: string, options?: RequestOptions): Promise<object>;
  /** Moves the user's cursors forward, never back; reading implies delivery. */
  ack(
    channel: string,
    cursors: { delivered?: number; read?: number },
    options?: RequestOptions,
  ): Promise<{ delivered: number; read: number }>;
  /** Calls the application's own backend. Never repeated. */
  rpc<Answer = unknown>(method: string, data?: unknown, options?: RequestOptions): Promise<Answer>;
  /** Harms our own actor, where the server allows it. Never repeated. */
  chaos(fault: "panic" | "stall", ms?: number): Promise<object>;
  /** Measures a round trip, in milliseconds. */
  ping(): Promise<number>;
  /** Ends a wait between two sockets. */
  reconnectNow(): void;
  /** Ends the session for good. Whatever is unsettled is rejected with `closed`. */
  close(): void;
}

/** Opens a connection and keeps it open. `url` is like `wss://example.org/v1/gateway`. */
export function connect(url: string, options?: Options): Dormouse;
