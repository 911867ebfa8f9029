// How the client opens sockets, keeps them alive, loses them and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, connect } from "../../src/http/assets/client.js";
import { Peer, record, settled } from "./peer.mjs";

test("backoff draws from a ceiling that doubles from a quarter second to twenty seconds", () => {
  const highest = new Backoff(() => 1);
  assert.deepEqual([...Array(9)].map(() => highest.next()), [250, 500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
  highest.reset();
  assert.equal(highest.next(), 250);
  assert.equal(new Backoff(() => 0).next(), 0);
});

test("the first socket offers the json protocol and identifies after hello", () => {
  const peer = new Peer();
  const dormouse = peer.connect({ status: "busy" });
  assert.deepEqual(peer.socket.protocols, ["dormouse.v1.json"]);
  assert.equal(peer.socket.received.length, 0);
  assert.equal(dormouse.state, "connecting");
  const identify = peer.accept({ generation: 3 });
  assert.deepEqual(identify, { op: "identify", token: "ada", cursors: {}, status: "busy" });
  assert.equal(dormouse.state, "live");
  assert.equal(dormouse.generation, 3);
  dormouse.close();
});

test("the resume token stays inside the client", () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  const told = record(dormouse, "ready");
  peer.accept({ session: "secret" });
  assert.equal(told.ready.length, 1);
  assert.doesNotMatch(JSON.stringify(told.ready), /secret/);
  dormouse.close();
});

for (const code of [1001, 1005, 1006, 1011, 4000, 4001, 4002, 4003, 4004, 4499]) {
  test(`after a socket that ended with ${code} the client comes back and resumes`, async () => {
    const peer = new Peer();
    const dormouse = peer.connect();
    const told = record(dormouse, "state");
    peer.accept({ session: "first" });
    peer.socket.end(code);
    assert.equal(dormouse.state, "reconnecting");
    assert.equal(told.state.at(-1).retry_in_ms, 125);
    await peer.clock.advance(125);
    assert.equal(peer.sockets.length, 2);
    assert.equal(peer.accept({ resumed: true }).resume, "first");
    assert.equal(dormouse.state, "live");
    dormouse.close();
  });
}

for (const code of [4500, 4501, 4502, 4503, 4504, 4505, 4506, 4999]) {
  test(`after a socket that ended with ${code} the client stops and says why`, async () => {
    const peer = new Peer();
    const dormouse = peer.connect();
    const told = record(dormouse, "state");
    peer.accept();
    peer.socket.end(code, "the_reason");
    assert.equal(dormouse.state, "closed");
    assert.equal(told.state.at(-1).error.close_code, code);
    assert.match(told.state.at(-1).error.message, /the_reason/);
    await peer.clock.advance(100_000);
    assert.equal(peer.sockets.length, 1);
    await assert.rejects(dormouse.whoami(), { code: "closed" });
  });
}

for (const code of [4501, 4502]) {
  test(`a token refused with ${code} is asked for once more, a second refusal is final`, async () => {
    const peer = new Peer();
    const tokens = ["second", "third"];
    const dormouse = peer.connect({ token: "first", getToken: async () => tokens.shift() });
    peer.accept();
    peer.socket.end(code);
    await peer.clock.advance(0);
    assert.equal(peer.accept().token, "second");
    peer.socket.end(code); // it had worked in between, so asking is right again
    await peer.clock.advance(0);
    peer.socket.end(code);
    assert.equal(dormouse.state, "closed");
    assert.deepEqual(tokens, []);
  });
}

test("without a token the client asks for one before it opens a socket", async () => {
  const peer = new Peer();
  const dormouse = peer.connect({ token: undefined, getToken: () => "asked" });
  assert.equal(peer.sockets.length, 0);
  await settled();
  assert.equal(peer.accept().token, "asked");
  dormouse.close();
});

test("getToken that fails is tried again after a pause", async () => {
  const peer = new Peer();
  let asked = 0;
  const getToken = () => (++asked === 1 ? Promise.reject(new Error("no network")) : "asked");
  const dormouse = peer.connect({ token: undefined, getToken });
  const told = record(dormouse, "state");
  await settled();
  assert.equal(dormouse.state, "reconnecting");
  assert.match(told.state[0].reason, /no network/);
  await peer.clock.advance(125);
  assert.equal(peer.accept().token, "asked");
  dormouse.close();
});

test("waits grow while sockets die young and begin anew after one that lasted", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  const waits = [];
  dormouse.on("state", ({ retry_in_ms }) => retry_in_ms !== undefined && waits.push(retry_in_ms));
  for (let round = 0; round < 3; round++) {
    peer.accept();
    peer.socket.end();
    await peer.clock.advance(waits.at(-1));
  }
  peer.accept();
  await peer.clock.advance(5_000);
  peer.socket.end();
  assert.deepEqual(waits, [125, 250, 500, 125]);
  dormouse.close();
});

test("reconnectNow ends the wait and resets the backoff", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  peer.socket.end();
  dormouse.reconnectNow();
  dormouse.reconnectNow(); // there is a socket now, so this does nothing
  assert.equal(peer.sockets.length, 2);
  await peer.clock.advance(1_000);
  assert.equal(peer.sockets.length, 2);
  dormouse.close();
});

test("the online event of the browser ends the wait until the connection is closed", () => {
  const browser = new EventTarget();
  globalThis.addEventListener = browser.addEventListener.bind(browser);
  globalThis.removeEventListener = browser.removeEventListener.bind(browser);
  try {
    const peer = new Peer();
    const dormouse = peer.connect();
    peer.accept();
    peer.socket.end();
    browser.dispatchEvent(new Event("online"));
    assert.equal(peer.sockets.length, 2);
    peer.socket.end();
    dormouse.close();
    browser.dispatchEvent(new Event("online"));
    assert.equal(peer.sockets.length, 2);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("a server that does not come to ready within ten seconds is left", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  await peer.clock.advance(9_999);
  assert.equal(peer.sockets.length, 1);
  await peer.clock.advance(1);
  assert.equal(dormouse.state, "reconnecting");
  assert.equal(peer.sockets[0].closed.code, 4001);
  dormouse.close();
});

test("heartbeats follow hello.heartbeat_ms and measure the round trip", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept({ heartbeat_ms: 1_000 });
  await peer.clock.advance(500); // the first one at a random moment, here half way
  peer.socket.expect("heartbeat");
  await peer.clock.advance(40);
  peer.socket.tell({ op: "heartbeat_ack" });
  assert.equal(dormouse.rtt, 40);
  await peer.clock.advance(959);
  assert.equal(peer.socket.received.length, 0);
  await peer.clock.advance(1);
  peer.socket.expect("heartbeat");
  dormouse.close();
});

test("a missing heartbeat_ack means a dead socket, and the session is resumed on another", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept({ heartbeat_ms: 60_000, session: "kept" });
  await peer.clock.advance(30_000);
  peer.socket.expect("heartbeat");
  await peer.clock.advance(9_999);
  assert.equal(dormouse.state, "live");
  await peer.clock.advance(1);
  assert.equal(dormouse.state, "reconnecting");
  assert.equal(peer.sockets[0].closed.code, 4001);
  await peer.clock.advance(125);
  assert.equal(peer.accept().resume, "kept");
  dormouse.close();
});

test("what a dead socket says after it was left is not heard", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  const [old] = peer.sockets;
  dormouse.ping().catch(() => {});
  await peer.clock.advance(10_125);
  assert.equal(peer.sockets.length, 2);
  old.tell({ op: "restarted", generation: 9, lost: 0 });
  old.end(4503);
  peer.accept();
  assert.equal(dormouse.state, "live");
  assert.equal(dormouse.restarts, 0);
  dormouse.close();
});

test("a reconnect frame makes the client leave after a random part of after_ms without ending its session", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  const told = record(dormouse, "reconnect");
  peer.accept({ session: "kept" });
  peer.socket.tell({ op: "reconnect", after_ms: 8_000, reason: "draining" });
  assert.equal(told.reconnect[0].reason, "draining");
  await peer.clock.advance(3_999);
  assert.equal(peer.socket.closed, null);
  await peer.clock.advance(1);
  assert.equal(peer.sockets[0].closed.code, 4003);
  assert.equal(peer.sockets.length, 2);
  assert.equal(peer.accept().resume, "kept");
  dormouse.close();
});

test("close says goodbye with 1000 and leaves no timer behind", async () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  peer.accept();
  const asked = dormouse.whoami();
  const subscription = dormouse.subscribe("chat:lobby");
  dormouse.close();
  assert.equal(peer.socket.closed.code, 1000);
  assert.equal(peer.clock.timers.size, 0);
  await assert.rejects(asked, { code: "closed", retry: "never" });
  await assert.rejects(subscription.ready, { code: "closed" });
});

test("a crash of the actor changes the generation and nothing of the socket", () => {
  const peer = new Peer();
  const dormouse = peer.connect();
  const told = record(dormouse, "restarted", "state");
  peer.accept({ generation: 1 });
  peer.socket.tell({ op: "restarted", generation: 2, lost: 1 });
  assert.equal(dormouse.generation, 2);
  assert.equal(dormouse.restarts, 1);
  assert.equal(told.restarted[0].lost, 1);
  assert.equal(told.state.length, 1);
  assert.equal(dormouse.sockets, 1);
  dormouse.close();
});

test("an address that is none is refused at once", () => {
  assert.throws(() => connect("not an address", { WebSocket: class {} }), TypeError);
});

test("without any WebSocket the client says which option is missing", { skip: "WebSocket" in globalThis }, () => {
  assert.throws(() => connect("ws://dormouse.test/"), /options\.WebSocket/);
});
