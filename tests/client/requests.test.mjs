// Every request is settled exactly once, whatever happens to the socket, the actor or the clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Peer, record, settled, watch } from "./peer.mjs";

const live = (options, ready) => {
  const peer = new Peer();
  const dormouse = peer.connect(options);
  peer.accept(ready);
  return { peer, dormouse };
};

test("replies find their requests in any order", async () => {
  const { peer, dormouse } = live();
  const [first, second] = [dormouse.publish("chat:a", 1), dormouse.publish("chat:a", 2)];
  const [one, two] = [peer.socket.expect("publish"), peer.socket.expect("publish")];
  peer.socket.reply(two, { offset: 8, at: 2, duplicate: false });
  peer.socket.reply(one, { offset: 7, at: 1, duplicate: false });
  assert.deepEqual([(await first).offset, (await second).offset], [7, 8]);
  dormouse.close();
});

test("a request is settled once: later replies, timeouts and ends change nothing", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.whoami());
  const asked = peer.socket.expect("whoami");
  peer.socket.reply(asked, { user: "ada" });
  peer.socket.reply(asked, { user: "eve" });
  peer.socket.refuse(asked, "internal", "never");
  await peer.clock.advance(60_000);
  dormouse.close();
  await settled();
  assert.equal(seen.settlements, 1);
  assert.equal(seen.ok.user, "ada");
});

test("a reply that nobody asked for is ignored", () => {
  const { peer, dormouse } = live();
  peer.socket.tell({ op: "reply", id: 99, ok: {} });
  assert.equal(dormouse.state, "live");
  dormouse.close();
});

test("an error that must not be retried rejects with its code, message and advice", async () => {
  const { peer, dormouse } = live();
  const asked = dormouse.presence("no:where");
  peer.socket.refuse(peer.socket.expect("presence", { channel: "no:where" }), "not_found", "never");
  await assert.rejects(asked, { name: "DormouseError", code: "not_found", message: "not_found", retry: "never" });
  dormouse.close();
});

test("an unanswered publish is sent again on the next socket with the same key", async () => {
  const { peer, dormouse } = live();
  const published = dormouse.publish("chat:a", "hello");
  const { key } = peer.socket.expect("publish");
  assert.match(key, /./);
  await peer.breakAndReopen();
  peer.accept({ resumed: true });
  const again = peer.socket.expect("publish", { key, data: "hello" });
  peer.socket.reply(again, { offset: 4, at: 1, duplicate: true });
  assert.equal((await published).duplicate, true);
  dormouse.close();
});

test("a chosen key is kept, and chosen keys differ", async () => {
  const { peer, dormouse } = live();
  for (const key of ["mine", undefined, undefined]) dormouse.publish("chat:a", 1, { key }).catch(() => {});
  const keys = [1, 2, 3].map(() => peer.socket.expect("publish").key);
  assert.equal(keys[0], "mine");
  assert.equal(new Set(keys).size, 3);
  dormouse.close();
});

test("requests made between two sockets are sent in their order when the next one is live", async () => {
  const { peer, dormouse } = live();
  peer.socket.end();
  for (const data of [1, 2, 3]) dormouse.publish("chat:a", data).catch(() => {});
  await peer.clock.advance(125);
  peer.accept();
  for (const data of [1, 2, 3]) peer.socket.expect("publish", { data });
  dormouse.close();
});

test("idempotent questions are asked again on the next socket", async () => {
  const { peer, dormouse } = live();
  const asked = [dormouse.whoami(), dormouse.presence("chat:a"), dormouse.setStatus("idle")];
  for (const op of ["whoami", "presence", "status"]) peer.socket.expect(op);
  await peer.breakAndReopen();
  assert.equal(peer.accept().status, "idle");
  for (const op of ["whoami", "presence", "status"]) peer.socket.reply(peer.socket.expect(op), { op });
  assert.deepEqual((await Promise.all(asked)).map(({ op }) => op), ["whoami", "presence", "status"]);
  dormouse.close();
});

test("chaos is never repeated: a lost socket rejects it", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.chaos("panic"));
  peer.socket.expect("chaos", { fault: "panic" });
  await peer.breakAndReopen();
  peer.accept();
  assert.equal(peer.socket.received.length, 0);
  assert.equal(seen.settlements, 1);
  assert.equal(seen.error.code, "connection_lost");
  await peer.breakAndReopen();
  await assert.rejects(dormouse.chaos("panic"), { code: "connection_lost" });
  dormouse.close();
});

test("chaos rejects with crashed, once, and is not retried though the answer would allow it", async () => {
  const { peer, dormouse } = live();
  const asked = dormouse.chaos("panic");
  const { id } = peer.socket.expect("chaos");
  peer.socket.tell({ op: "restarted", generation: 1, request: id, lost: 0 });
  peer.socket.refuse({ id }, "crashed", "later");
  await assert.rejects(asked, { code: "crashed", retry: "later" });
  await peer.clock.advance(20_000);
  assert.deepEqual(peer.socket.received.filter(({ op }) => op === "chaos"), []);
  dormouse.close();
});

for (const code of ["rate_limited", "overloaded", "unavailable"]) {
  test(`a publish answered with ${code} is tried again, not before retry_after_ms`, async () => {
    const { peer, dormouse } = live();
    const published = dormouse.publish("chat:a", 1);
    const first = peer.socket.expect("publish");
    peer.socket.refuse(first, code, "later", { retry_after_ms: 700 });
    await peer.clock.advance(699);
    assert.equal(peer.socket.received.length, 0);
    await peer.clock.advance(500);
    const second = peer.socket.expect("publish", { key: first.key });
    peer.socket.reply(second, { offset: 1 });
    assert.equal((await published).offset, 1);
    dormouse.close();
  });
}

test("tries are bounded", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.publish("chat:a", 1));
  let tries = 0;
  while (peer.socket.received.length > 0) {
    peer.socket.refuse(peer.socket.expect("publish"), "overloaded", "later");
    tries += 1;
    await peer.clock.advance(4_001);
  }
  assert.equal(tries, 5);
  assert.equal(seen.error.code, "overloaded");
  dormouse.close();
});

test("a publish that crashed the actor is tried once more and no further", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.publish("chat:a", 1));
  peer.socket.refuse(peer.socket.expect("publish"), "crashed", "later");
  await peer.clock.advance(500);
  peer.socket.refuse(peer.socket.expect("publish"), "crashed", "later");
  await peer.clock.advance(500);
  assert.equal(seen.error.code, "crashed");
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("retry: false leaves retrying to the caller", async () => {
  const { peer, dormouse } = live();
  const published = dormouse.publish("chat:a", 1, { retry: false });
  peer.socket.refuse(peer.socket.expect("publish"), "rate_limited", "later", { retry_after_ms: 5 });
  await assert.rejects(published, { code: "rate_limited", retry_after_ms: 5 });
  dormouse.close();
});

test("a request that waits for its next try survives a lost socket", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.publish("chat:a", 1));
  peer.socket.refuse(peer.socket.expect("publish"), "rate_limited", "later", { retry_after_ms: 5_000 });
  await peer.breakAndReopen();
  await peer.clock.advance(6_000); // the pause ends while the next socket is not live yet
  peer.accept();
  peer.socket.reply(peer.socket.expect("publish"), { offset: 1 });
  await settled();
  assert.equal(seen.settlements, 1);
  assert.equal(seen.ok.offset, 1);
  dormouse.close();
});

test("no answer within the deadline rejects with timeout, also without a socket", async () => {
  const { peer, dormouse } = live();
  const seen = watch(dormouse.publish("chat:a", 1, { timeoutMs: 3_000 }));
  peer.socket.end();
  await peer.clock.advance(3_000);
  assert.equal(seen.error.code, "timeout");
  peer.accept();
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("the number of waiting requests is bounded", async () => {
  const { peer, dormouse } = live();
  peer.socket.end();
  for (let n = 0; n < 1_024; n++) dormouse.publish("chat:a", n).catch(() => {});
  await assert.rejects(dormouse.publish("chat:a", "one more"), { code: "overloaded", retry: "later" });
  dormouse.close();
});

test("a frame above the limit of hello is refused here and costs nobody else anything", async () => {
  const { peer, dormouse } = live({}, { max_frame_bytes: 200 });
  await assert.rejects(dormouse.publish("chat:a", "é".repeat(100)), { code: "too_large" });
  assert.equal(peer.socket.received.length, 0);
  dormouse.publish("chat:a", "e".repeat(100)).catch(() => {});
  peer.socket.expect("publish");
  dormouse.close();
});

test("signals are sent at once or not at all", async () => {
  const { peer, dormouse } = live();
  dormouse.signal("chat:a", "typing", { on: true });
  assert.deepEqual(peer.socket.expect("signal"), { op: "signal", channel: "chat:a", kind: "typing", data: { on: true } });
  peer.socket.end();
  dormouse.signal("chat:a", "typing");
  await peer.clock.advance(125);
  peer.accept();
  assert.equal(peer.socket.received.length, 0);
  dormouse.close();
});

test("ping measures the round trip and rejects when the socket is lost", async () => {
  const { peer, dormouse } = live();
  const measured = dormouse.ping();
  peer.socket.expect("heartbeat");
  await peer.clock.advance(12);
  peer.socket.tell({ op: "heartbeat_ack" });
  assert.equal(await measured, 12);
  const lost = dormouse.ping();
  peer.socket.end();
  await assert.rejects(lost, { code: "connection_lost" });
  dormouse.close();
});

test("an error frame without request is told as an event, with a known id it settles the request", async () => {
  const { peer, dormouse } = live();
  const told = record(dormouse, "error");
  peer.socket.tell({ op: "error", code: "bad_request", message: "no such thing", retry: "never" });
  assert.equal(told.error[0].code, "bad_request");
  const asked = dormouse.whoami();
  peer.socket.tell({ op: "error", id: peer.socket.expect("whoami").id, code: "internal", message: "oh", retry: "never" });
  await assert.rejects(asked, { code: "internal" });
  assert.equal(told.error.length, 1);
  dormouse.close();
});

test("under any mix of breaks, errors and replies each request is settled once", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
  const { peer, dormouse } = live();
  const stored = new Map(); // what the server has: key → offset
  const seen = [];
  for (let step = 0; step < 2_000; step++) {
    const choice = random();
    if (choice < 0.4) {
      seen.push(watch(random() < 0.7 ? dormouse.publish("chat:a", step) : dormouse.chaos("panic")));
    } else if (choice < 0.9 && dormouse.state === "live") {
      const frames = peer.socket.received;
      if (frames.length === 0) continue;
      const [frame] = frames.splice(Math.floor(random() * frames.length), 1);
      if (frame.op === "heartbeat") peer.socket.tell({ op: "heartbeat_ack" });
      else if (random() < 0.2) peer.socket.refuse(frame, random() < 0.5 ? "crashed" : "overloaded", "later");
      else if (frame.op === "publish") {
        const duplicate = stored.has(frame.key);
        if (!duplicate) stored.set(frame.key, stored.size + 1);
        if (random() < 0.8) peer.socket.reply(frame, { offset: stored.get(frame.key), duplicate });
        else peer.socket.end(); // stored, and the answer is lost
      } else peer.socket.reply(frame, {});
    } else if (choice < 0.95) {
      if (dormouse.state === "live") peer.socket.end();
    } else {
      await peer.clock.advance(random() * 2_000);
    }
    if (dormouse.state === "reconnecting" && random() < 0.3) {
      dormouse.reconnectNow();
      peer.accept({ resumed: random() < 0.5 });
    }
  }
  await peer.clock.advance(30_000);
  dormouse.close();
  await settled();
  assert.ok(seen.length > 500);
  assert.deepEqual(seen.filter(({ settlements }) => settlements !== 1), []);
  const offsets = seen.filter(({ ok }) => ok?.offset).map(({ ok }) => ok.offset);
  assert.equal(new Set(offsets).size, offsets.length, "two publishes share an offset");
});
