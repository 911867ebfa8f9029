// A small application that uses all of the client: it must compile, strictly. types.test.mjs compiles it.

import { WebSocket } from "ws";
import {
  connect, Dormouse, DormouseError,
  type ChannelEvent, type Cursor, type ErrorCode, type Membership, type Options, type Person, type Subscription,
} from "../../../src/http/assets/client.js";

interface Message {
  text: string;
}

const options: Options = { getToken: async () => "ada", status: "idle", acknowledge: false, retry: true, timeoutMs: 1, WebSocket };
const dormouse: Dormouse = connect("wss://example.org/v1/gateway", options);
const inPage = new Dormouse("/v1/gateway", { token: "ada", WebSocket: globalThis.WebSocket });

const show = (event: ChannelEvent<Message>): string => `${event.offset} ${event.from} ${event.data.text} ${event.key ?? ""}`;
const lobby: Subscription = dormouse.subscribe<Message>("chat:lobby", { last: 50, presence: true }, show);
const kept: Cursor | null = lobby.cursor;
if (kept) inPage.subscribe("chat:lobby", { from: kept });
dormouse.subscribe("chat:quiet");

const off: () => void = dormouse.on("event", ({ data }) => typeof data === "string" && data.length);
dormouse.on("state", ({ state, previous, retry_in_ms, error }) => console.log(state, previous, retry_in_ms?.toFixed(), error?.code));
dormouse.on("gap", ({ from, to, reason }) => console.log(to - from, reason === "retention"));
dormouse.on("roster", ({ channel, users }) => users.map((person: Person) => `${channel} ${person.status}`));
dormouse.on("presence", ({ joined, left }) => [...joined.map(({ user }) => user), ...left]);
dormouse.on("membership", (change) => {
  if (change.left) return console.log(change.channel);
  const membership: Membership = change;
  return console.log(membership.unread);
});
dormouse.on("error", (error: DormouseError) => console.error(error.code, error.retry, error.message));

export async function talk(): Promise<void> {
  const { offset, duplicate } = await dormouse.publish("chat:lobby", { text: "hello" } satisfies Message, { key: dormouse.newKey() });
  const { epoch, presence } = await lobby.ready;
  const { events, more } = await dormouse.history<Message>("chat:lobby", { before: offset, limit: 10 }, { timeoutMs: 5 });
  console.log(duplicate, epoch, presence?.count, events.map(show), more);
  const { sum } = await dormouse.rpc<{ sum: number }>("sum", [1, 2]);
  const unknown: unknown = await dormouse.rpc("other");
  console.log(sum.toFixed(), unknown, (await dormouse.ping()).toFixed());
  await dormouse.join("chat:lobby");
  const { delivered } = await dormouse.ack("chat:lobby", { read: offset });
  const { members } = await dormouse.members("chat:lobby");
  console.log(delivered, members[0]?.read, dormouse.memberships.get("chat:lobby")?.unread);
  dormouse.signal("chat:lobby", "typing");
  await dormouse.setStatus("busy");
  const code: ErrorCode = await dormouse.whoami().then(() => "closed" as const, (error: DormouseError) => error.code);
  console.log(code, (await dormouse.presence("chat:lobby")).users, dormouse.uptimeMs, dormouse.rtt);
  await dormouse.chaos("stall", 5).catch(() => {});
  await lobby.unsubscribe();
  await dormouse.leave("chat:lobby");
  off();
  dormouse.reconnectNow();
  dormouse.close();
}
