// The client in Node, over the sockets of `ws`, against a real server: DORMOUSE_BIN names its binary.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import WebSocket from "ws";
import { connect } from "../../src/http/assets/client.js";
import { TestServer } from "../browser/server.mjs";

const skip = process.env.DORMOUSE_BIN ? false : "DORMOUSE_BIN is not set";

/** The next event of a client, by name and condition. */
const next = (dormouse, name, wanted = () => true) => new Promise((resolve) => {
  const off = dormouse.on(name, (detail) => {
    if (!wanted(detail)) return;
    off();
    resolve(detail);
  });
});

test("a client survives crashes and cut sockets without missing or doubling an event", { skip, timeout: 60_000 }, async () => {
  const server = await TestServer.start("chaos.enabled=true");
  const sockets = [];
  const Recorded = class extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  };
  const url = `ws://${server.address}/v1/gateway`;
  const ada = connect(url, { token: "ada", WebSocket: Recorded });
  const eve = connect(url, { token: "eve", WebSocket });
  try {
    const heard = [];
    const room = ada.subscribe("chat:test", {}, ({ data }) => heard.push(data));
    await room.ready;
    const { connection, generation } = await ada.whoami();

    assert.ok((await eve.publish("chat:test", 1)).offset > 0);
    const restarted = next(ada, "restarted");
    const pipelined = [ada.whoami(), ada.chaos("panic"), ada.publish("chat:test", 2), ada.presence("chat:test")];
    const [before, crash, published, present] = await Promise.allSettled(pipelined);
    assert.equal(before.value.connection, connection);
    assert.equal(crash.reason.code, "crashed");
    assert.equal(published.status, "fulfilled");
    assert.equal(present.status, "fulfilled");
    assert.equal((await restarted).generation, generation + 1);
    assert.equal(ada.sockets, 1);

    const back = next(ada, "ready");
    sockets[0].terminate();
    await once(sockets[0], "close");
    for (const data of [3, 4]) await eve.publish("chat:test", data);
    assert.equal((await back).resumed, true);
    const last = next(ada, "event", ({ data }) => data === 5);
    await eve.publish("chat:test", 5);
    await last;
    assert.deepEqual(heard, [1, 2, 3, 4, 5]);

    const key = eve.newKey();
    const first = await eve.publish("chat:test", "once", { key });
    const second = await eve.publish("chat:test", "once", { key });
    assert.deepEqual([second.offset, second.duplicate], [first.offset, true]);
  } finally {
    ada.close();
    eve.close();
    await server.stop();
  }
});
