// Channels outlive sockets and sessions: cursors, doubles, gaps, presence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Peer, record, settled } from "./peer.mjs";

const LOBBY = "chat:lobby";
const event = (offset, channel = LOBBY) => ({ op: "event", channel, offset, from: "eve", at: offset, data: offset });

/** A live client with one open subscription and the list of what it delivered. */
function lobby(options = {}, answer = {}) {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  const heard = [];
  const told = record(dormouse, "subscribed", "roster", "presence", "gap", "event", "error");
  const subscription = dormouse.subscribe(LOBBY, options, ({ offset }) => heard.push(offset));
  const asked = peer.socket.expect("subscribe", { channel: LOBBY });
  peer.socket.reply(asked, { channel: LOBBY, epoch: "e1", offset: 10, recovered: true, ...answer });
  return { peer, dormouse, heard, told, subscription, asked };
}

const listed = (offset, more = {}) => ({ subscriptions: [{ channel: LOBBY, epoch: "e1", offset, recovered: true, ...more }] });

test("a subscription asks as told and says where the channel stands", async () => {
  const { dormouse, subscription, asked } = lobby({ last: 50, presence: true });
  assert.deepEqual([asked.last, asked.presence, asked.from], [50, true, undefined]);
  assert.equal((await subscription.ready).offset, 10);
  dormouse.close();
});

test("last brings old events, which are delivered although the head is beyond them", () => {
  const { peer, dormouse, heard } = lobby({ last: 3 });
  for (const offset of [8, 9, 10, 11]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [8, 9, 10, 11]);
  dormouse.close();
});

test("events that follow the reply in the same breath are judged by its cursor", () => {
  const { peer, dormouse, heard } = lobby({ from: { epoch: "e1", offset: 8 } });
  for (const offset of [8, 9, 10]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [9, 10]);
  dormouse.close();
});

test("doubles are dropped by offset, per channel", async () => {
  const { peer, dormouse, heard, told } = lobby();
  const other = [];
  dormouse.subscribe("chat:other", {}, ({ offset }) => other.push(offset));
  peer.socket.reply(peer.socket.expect("subscribe"), { channel: "chat:other", epoch: "e7", offset: 0, recovered: true });
  for (const frame of [event(11), event(11), event(12), event(11), event(1, "chat:other"), event(14)]) peer.socket.tell(frame);
  assert.deepEqual(heard, [11, 12, 14]);
  assert.deepEqual(other, [1]);
  assert.equal(dormouse.doubles, 2);
  assert.equal(told.event.length, 4);
  dormouse.close();
});

test("identify carries the cursor of each channel, and what the server restored is not asked for again", async () => {
  const { peer, dormouse, heard } = lobby();
  peer.socket.tell(event(11));
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept({ resumed: true, ...listed(13) }).cursors, { [LOBBY]: { epoch: "e1", offset: 11 } });
  assert.equal(peer.socket.received.length, 0);
  for (const offset of [11, 12, 13, 14]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [11, 12, 13, 14]);
  dormouse.close();
});

test("a channel without any event is resumed from the head of its first answer", async () => {
  const { peer, dormouse } = lobby();
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept(listed(10)).cursors, { [LOBBY]: { epoch: "e1", offset: 10 } });
  dormouse.close();
});

test("a socket lost before the replay of last arrived brings that replay on the next one", async () => {
  const { peer, dormouse, heard } = lobby({ last: 3 });
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept({ resumed: true, ...listed(10) }).cursors, { [LOBBY]: { epoch: "e1", offset: 7 } });
  for (const offset of [8, 9, 10]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [8, 9, 10]);
  dormouse.close();
});

test("a channel that the server did not restore is subscribed again from its cursor", async () => {
  const { peer, dormouse } = lobby({ last: 5 });
  peer.socket.tell(event(11));
  await peer.breakAndReopen();
  peer.accept();
  const asked = peer.socket.expect("subscribe", { channel: LOBBY, from: { epoch: "e1", offset: 11 } });
  assert.equal(asked.last, undefined);
  dormouse.close();
});

test("a subscribe without an answer is asked again as it was", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  const subscription = dormouse.subscribe(LOBBY, { last: 5 });
  peer.socket.expect("subscribe", { last: 5 });
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept({ resumed: true, ...listed(3) }).cursors, {});
  peer.socket.reply(peer.socket.expect("subscribe", { last: 5 }), { channel: LOBBY, epoch: "e1", offset: 3, recovered: true });
  assert.equal((await subscription.ready).offset, 3);
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("in another epoch offsets begin anew, and recovered: false is told", async () => {
  const { peer, dormouse, heard, told, subscription } = lobby();
  peer.socket.tell(event(11));
  await peer.breakAndReopen();
  peer.accept({ subscriptions: [{ channel: LOBBY, epoch: "e2", offset: 2, recovered: false }] });
  peer.socket.tell({ op: "gap", channel: LOBBY, from: 1, to: 1, reason: "retention" });
  for (const offset of [2, 3]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [11, 2, 3]);
  assert.equal(subscription.recovered, false);
  assert.equal(told.subscribed.at(-1).recovered, false);
  assert.deepEqual(subscription.cursor, { epoch: "e2", offset: 3 });
  assert.equal(told.gap.length, 1);
  dormouse.close();
});

test("a gap is told once, though coming back with the same cursor makes the server say it again", async () => {
  const { peer, dormouse, told } = lobby();
  const gap = { op: "gap", channel: LOBBY, from: 11, to: 20, reason: "catch_up_limit" };
  peer.socket.tell(gap);
  await peer.breakAndReopen();
  peer.accept(listed(20, { recovered: false }));
  peer.socket.tell(gap);
  assert.equal(told.gap.length, 1);
  peer.socket.tell({ ...gap, from: 21, to: 25 });
  assert.equal(told.gap.length, 2);
  dormouse.close();
});

test("a fresh session is asked for presence again, a resumed one for the roster alone", async () => {
  const { peer, dormouse, told } = lobby({ presence: true }, { presence: { count: 1, users: [{ user: "ada", status: "online" }] } });
  assert.deepEqual(told.roster.map(({ count }) => count), [1]);
  await peer.breakAndReopen();
  peer.accept({ resumed: true, ...listed(10) });
  peer.socket.reply(peer.socket.expect("presence", { channel: LOBBY }), { count: 2, users: [] });
  await settled();
  assert.deepEqual(told.roster.map(({ count }) => count), [1, 2]);
  await peer.breakAndReopen();
  peer.accept({ resumed: false, ...listed(10) });
  const asked = peer.socket.expect("subscribe", { presence: true, from: { epoch: "e1", offset: 10 } });
  peer.socket.reply(asked, { channel: LOBBY, epoch: "e1", offset: 10, recovered: true, presence: { count: 3, users: [] } });
  assert.deepEqual(told.roster.map(({ count }) => count), [1, 2, 3]);
  dormouse.close();
});

test("presence changes are told as they come", () => {
  const { peer, dormouse, told } = lobby({ presence: true });
  const change = { channel: LOBBY, joined: [{ user: "eve", status: "idle" }], left: [], changed: [], count: 2 };
  peer.socket.tell({ op: "presence", ...change });
  assert.deepEqual(told.presence[0].joined, change.joined);
  dormouse.close();
});

test("unsubscribe ends delivery and the channel is not wanted back", async () => {
  const { peer, dormouse, heard, subscription } = lobby();
  const ended = subscription.unsubscribe();
  peer.socket.reply(peer.socket.expect("unsubscribe", { channel: LOBBY }), {});
  await ended;
  await subscription.unsubscribe();
  peer.socket.tell(event(11));
  assert.deepEqual(heard, []);
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept().cursors, {});
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("unsubscribed between two sockets, a channel that the session brings back is given up again", async () => {
  const { peer, dormouse, subscription } = lobby();
  peer.socket.end();
  subscription.unsubscribe();
  await peer.clock.advance(125);
  assert.deepEqual(peer.accept({ resumed: true, ...listed(10) }).cursors, {});
  peer.socket.reply(peer.socket.expect("unsubscribe"), {});
  await settled();
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept().cursors, {});
  dormouse.close();
});

test("a second subscription to the same channel is a mistake", () => {
  const { dormouse } = lobby();
  assert.throws(() => dormouse.subscribe(LOBBY), { code: "bad_request" });
  dormouse.close();
});

test("a refused subscription rejects, is told, and is not asked for again", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  const told = record(dormouse, "error");
  const subscription = dormouse.subscribe("dm:eve+mallory");
  peer.socket.refuse(peer.socket.expect("subscribe"), "forbidden", "never");
  await assert.rejects(subscription.ready, { code: "forbidden" });
  assert.equal(told.error[0].code, "forbidden");
  await peer.breakAndReopen();
  peer.accept();
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("what the server subscribed on its own keeps a cursor and reaches the event listeners", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  const told = record(dormouse, "event");
  peer.accept({ subscriptions: [{ channel: "dm:ada+eve", epoch: "e1", offset: 4, recovered: true }] });
  peer.socket.tell(event(5, "dm:ada+eve"));
  assert.equal(told.event.length, 1);
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept().cursors, { "dm:ada+eve": { epoch: "e1", offset: 5 } });
  dormouse.close();
});

test("a listener that throws does not keep others from hearing", async () => {
  const { peer, dormouse, told } = lobby();
  const thrown = [];
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", (error) => thrown.push(error.message));
  dormouse.on("gap", () => { throw new Error("of the listener"); });
  peer.socket.tell({ op: "gap", channel: LOBBY, from: 1, to: 2, reason: "overflow" });
  peer.socket.tell(event(11));
  await settled();
  for (const listener of others) process.on("uncaughtException", listener);
  assert.deepEqual(thrown, ["of the listener"]);
  assert.equal(told.event.length, 1);
  dormouse.close();
});
