// Memberships outlive everything: cursors that the server keeps, what is unread, acknowledgements, publishes over a cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Peer, record, settled, watch } from "./peer.mjs";

const ROOM = "chat:room";
const event = (offset, from = "eve") => ({ op: "event", channel: ROOM, offset, from, at: offset, data: offset });
const member = (more) => ({
  memberships: [{ channel: ROOM, epoch: "e1", offset: 10, delivered: 6, read: 4, unread: 5, ...more }],
  subscriptions: [{ channel: ROOM, epoch: "e1", offset: 10, recovered: true }],
});

/** A live member and the offsets he was given. */
function room(ready = member(), options = {}) {
  const peer = new Peer();
  const dormouse = peer.connect(options);
  const heard = [];
  dormouse.on("event", ({ offset }) => heard.push(offset));
  const told = record(dormouse, "membership", "receipt", "error");
  peer.accept(ready);
  return { peer, dormouse, heard, told };
}

test("a member gets what he missed since the cursor that the server keeps for him", () => {
  const { peer, dormouse, heard } = room();
  for (const offset of [6, 7, 8, 9, 10, 11]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [7, 8, 9, 10, 11]);
  assert.equal(dormouse.doubles, 1);
  assert.equal(dormouse.memberships.get(ROOM).unread, 6, "those of `ready` are counted once");
  dormouse.close();
});

test("deliveries are acknowledged together, a moment later, and by members alone", async () => {
  const { peer, dormouse } = room();
  for (const offset of [7, 8, 9]) peer.socket.tell(event(offset));
  await peer.clock.advance(299);
  assert.deepEqual(peer.socket.received, []);
  await peer.clock.advance(1);
  assert.deepEqual(peer.socket.expect("ack"), { op: "ack", channel: ROOM, delivered: 9 });
  peer.socket.tell({ op: "receipt", channel: ROOM, user: "ada", delivered: 9, read: 4 });
  assert.equal(dormouse.memberships.get(ROOM).delivered, 9);
  peer.socket.tell({ ...event(1), channel: "chat:stranger" });
  await peer.clock.advance(1000);
  assert.deepEqual(peer.socket.received, []);
  dormouse.close();
});

test("whoever wants to acknowledge by himself does", async () => {
  const { peer, dormouse } = room(member(), { acknowledge: false });
  peer.socket.tell(event(7));
  await peer.clock.advance(10_000);
  assert.deepEqual(peer.socket.received, []);
  dormouse.close();
});

test("what is unread grows with events of others and shrinks with what we read, on whatever device", async () => {
  const { peer, dormouse, told } = room();
  for (const [offset, from] of [[11, "eve"], [12, "ada"], [13, "eve"]]) peer.socket.tell(event(offset, from));
  assert.equal(dormouse.memberships.get(ROOM).unread, 7);
  const acked = dormouse.ack(ROOM, { read: 13 });
  peer.socket.reply(peer.socket.expect("ack", { read: 13 }), { delivered: 13, read: 13 });
  await acked;
  assert.deepEqual([told.membership.at(-1).unread, told.membership.at(-1).read], [0, 13]);
  peer.socket.tell(event(14));
  peer.socket.tell({ op: "receipt", channel: ROOM, user: "ada", delivered: 14, read: 14 });
  assert.equal(dormouse.memberships.get(ROOM).unread, 0, "read on another device");
  peer.socket.tell({ op: "receipt", channel: ROOM, user: "eve", delivered: 14, read: 14 });
  assert.equal(told.receipt.length, 2);
  dormouse.close();
});

test("who joins hears what follows the reply, and comes back with a cursor of his own", async () => {
  const { peer, dormouse, heard } = room({});
  const joined = watch(dormouse.join(ROOM));
  peer.socket.reply(peer.socket.expect("join", { channel: ROOM }), { channel: ROOM, epoch: "e1", offset: 10 });
  for (const offset of [10, 11]) peer.socket.tell(event(offset));
  await settled();
  assert.deepEqual([joined.ok.offset, heard], [10, [11]]);
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept(member({ delivered: 10 })).cursors, { [ROOM]: { epoch: "e1", offset: 11 } });
  for (const offset of [11, 12]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [11, 12]);
  dormouse.close();
});

test("a membership that began elsewhere brings each event once, also over a lost socket", async () => {
  const { peer, dormouse, heard } = room({});
  for (const offset of [11, 11, 12]) peer.socket.tell(event(offset));
  await peer.breakAndReopen();
  peer.accept(member({ offset: 13, delivered: 10 }));
  for (const offset of [11, 12, 13]) peer.socket.tell(event(offset));
  assert.deepEqual(heard, [11, 12, 13]);
  dormouse.close();
});

test("a membership that begins and ends elsewhere is told, and what follows is unread", async () => {
  const { peer, dormouse, heard, told } = room({});
  const begun = { channel: ROOM, epoch: "e1", offset: 10, delivered: 10, read: 10, unread: 0 };
  peer.socket.tell({ op: "membership", ...begun });
  assert.deepEqual(told.membership, [begun]);
  for (const offset of [10, 11]) peer.socket.tell(event(offset));
  peer.socket.tell({ op: "membership", ...begun });
  assert.deepEqual([heard, dormouse.memberships.get(ROOM).unread], [[11], 1]);
  await peer.clock.advance(300);
  peer.socket.expect("ack", { channel: ROOM, delivered: 11 });
  peer.socket.tell({ op: "membership", channel: ROOM, left: true });
  assert.deepEqual([told.membership.at(-1), dormouse.memberships.size], [{ channel: ROOM, left: true }, 0]);
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept({}).cursors, {});
  dormouse.close();
});

test("what was heard before the membership was told is unread and acknowledged", async () => {
  const { peer, dormouse } = room({});
  peer.socket.tell(event(11));
  peer.socket.tell({ op: "membership", channel: ROOM, epoch: "e1", offset: 10, delivered: 10, read: 10, unread: 0 });
  const { offset, unread } = dormouse.memberships.get(ROOM);
  assert.deepEqual([offset, unread], [11, 1]);
  await peer.clock.advance(300);
  peer.socket.expect("ack", { channel: ROOM, delivered: 11 });
  dormouse.close();
});

test("who leaves is told, and his channel does not come back by itself", async () => {
  const { peer, dormouse, told } = room();
  const left = watch(dormouse.leave(ROOM));
  peer.socket.reply(peer.socket.expect("leave", { channel: ROOM }), {});
  await settled();
  assert.deepEqual([left.ok, told.membership.at(-1)], [{}, { channel: ROOM, left: true }]);
  await peer.breakAndReopen();
  assert.deepEqual(peer.accept({}).cursors, {});
  assert.deepEqual(peer.socket.received, []);
  dormouse.close();
});

test("a publish whose answer was lost is sent again with its key, and what came of it is seen once", async () => {
  const { peer, dormouse, heard } = room();
  const published = watch(dormouse.publish(ROOM, "hello"));
  const first = peer.socket.expect("publish");
  peer.socket.tell({ ...event(11, "ada"), key: first.key });
  await peer.breakAndReopen();
  const meanwhile = watch(dormouse.publish(ROOM, "second"));
  peer.accept(member({ offset: 11 }));
  const again = peer.socket.expect("publish");
  assert.deepEqual([again.key, again.data], [first.key, "hello"]);
  peer.socket.tell({ ...event(11, "ada"), key: first.key });
  peer.socket.reply(again, { offset: 11, at: 1, duplicate: true });
  const second = peer.socket.expect("publish", { data: "second" });
  assert.notEqual(second.key, first.key);
  peer.socket.reply(second, { offset: 12, at: 2, duplicate: false });
  await settled();
  assert.deepEqual([published.settlements, published.ok.offset, meanwhile.ok.offset], [1, 11, 12]);
  assert.deepEqual(heard, [11]);
  dormouse.close();
});

test("history is asked for in pages", async () => {
  const { peer, dormouse } = room();
  const page = dormouse.history(ROOM, { before: 6, limit: 2 });
  peer.socket.reply(peer.socket.expect("history", { before: 6, limit: 2 }), { events: [event(4), event(5)], more: true });
  assert.deepEqual((await page).events.map(({ offset }) => offset), [4, 5]);
  dormouse.close();
});
