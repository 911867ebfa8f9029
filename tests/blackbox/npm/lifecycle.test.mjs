// The whole life of a client made with npm `ws`: connect, talk, lose the socket, resume, crash in a pipeline, renew
// nothing by magic. Starts its own server from DORMOUSE_BIN (or the newest build) and stops it by SIGTERM.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

function binary() {
  if (process.env.DORMOUSE_BIN) return process.env.DORMOUSE_BIN;
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  const built = ["release", "debug"].map((kind) => join(target, kind, "dormouse")).filter(existsSync);
  assert.ok(built.length, "no dormouse binary: build one or set DORMOUSE_BIN");
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

async function startServer(folder, listen = "127.0.0.1:0") {
  const settings = [`store.path=${join(folder, "store")}`, "chaos.enabled=true", "listen.compression=true", "limits.publish_per_second=100000",
    "limits.publish_burst=100000", "supervision.max_restarts=20"];
  const args = ["serve", "--listen", listen, ...settings.flatMap((each) => ["--set", each])];
  const child = spawn(binary(), args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const log = [];
  const port = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      const plain = line.replace(/\x1b\[[0-9;]*m/g, "");
      log.push(plain);
      const found = plain.includes("listening") && /addr="?127\.0\.0\.1:(\d+)/.exec(plain);
      if (found) resolve(Number(found[1]));
    });
    ended.then(() => reject(new Error(`the server did not start:\n${log.join("\n")}`)));
  });
  return { child, ended, port, log };
}

/** One socket; frames wait in `inbox` until a test takes them. */
class Client {
  #ids = 0;
  #waiting = [];
  inbox = [];

  constructor(port, encoding, path = "/v1/gateway") {
    this.encoding = encoding;
    this.ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, [`dormouse.v1.${encoding}`]);
    this.closed = new Promise((resolve) => this.ws.on("close", (code, reason) => resolve([code, String(reason)])));
    this.ws.on("error", () => {});
    this.ws.on("message", (data, isBinary) => {
      assert.equal(isBinary, encoding === "msgpack");
      this.inbox.push(isBinary ? decode(data) : JSON.parse(data));
      this.#waiting.splice(0).forEach((wake) => wake());
    });
  }

  static async identified(port, encoding, fields) {
    const client = new Client(port, encoding);
    client.hello = await client.take("hello");
    client.send({ op: "identify", ...fields });
    client.ready = await client.take("ready");
    return client;
  }

  send(frame) {
    this.ws.send(this.encoding === "json" ? JSON.stringify(frame) : encode(frame));
  }

  async take(op, fits = () => true) {
    const deadline = AbortSignal.timeout(10_000);
    for (;;) {
      const at = this.inbox.findIndex((frame) => frame.op === op && fits(frame));
      if (at >= 0) return this.inbox.splice(at, 1)[0];
      assert.ok(!deadline.aborted, `no ${op} in time; last: ${JSON.stringify(this.inbox.slice(-5))}`);
      await new Promise((resolve) => {
        this.#waiting.push(resolve);
        deadline.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  ask(op, fields = {}) {
    const id = ++this.#ids;
    this.send({ op, id, ...fields });
    return id;
  }

  async request(op, fields) {
    const id = this.ask(op, fields);
    const reply = await this.take("reply", (frame) => frame.id === id);
    assert.ok(reply.ok, JSON.stringify(reply));
    return reply.ok;
  }

  /** Everything that came until one more question was answered. */
  async settle() {
    await this.request("whoami");
    return this.inbox.splice(0);
  }

  cut() {
    this.ws.terminate();
    return this.closed;
  }
}

for (const encoding of ["json", "msgpack"]) {
  describe(`a client made with npm ws, ${encoding}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "dormouse-npm-"));
    let server;

    before(async () => {
      server = await startServer(folder);
    });

    after(async () => {
      server.child.kill("SIGTERM");
      assert.deepEqual(await server.ended, { code: 0, signal: null });
      rmSync(folder, { recursive: true, force: true });
    });

    const identified = (fields) => Client.identified(server.port, encoding, fields);

    test("connects, talks and says goodbye", async () => {
      const [alice, bob] = [await identified({ token: "alice" }), await identified({ token: "bob" })];
      assert.equal(alice.ready.user, "alice");
      assert.equal(alice.hello.heartbeat_ms, 45000);
      for (const one of [alice, bob]) {
        const reply = await one.request("subscribe", { channel: "room:life" });
        assert.equal(reply.channel, "room:life");
        assert.equal(reply.recovered, true);
      }
      const { offset, duplicate } = await alice.request("publish", { channel: "room:life", data: { text: "grüße 🐭" } });
      assert.equal(duplicate, false);
      for (const one of [alice, bob]) {
        const event = await one.take("event");
        assert.deepEqual([event.offset, event.from, event.data], [offset, "alice", { text: "grüße 🐭" }]);
      }
      assert.deepEqual(await bob.request("signal", { channel: "room:life", kind: "typing" }), {});
      assert.equal((await alice.take("signal")).from, "bob");
      bob.send({ op: "heartbeat" });
      await bob.take("heartbeat_ack");
      const me = await alice.request("whoami");
      assert.equal(me.user, "alice");
      assert.deepEqual(await alice.request("status", { status: "busy" }), {});
      assert.deepEqual(await alice.request("unsubscribe", { channel: "room:life" }), {});
      await bob.request("publish", { channel: "room:life", data: 2 });
      assert.deepEqual((await alice.settle()).filter((frame) => frame.op === "event"), []);
      for (const one of [alice, bob]) {
        one.ws.close(1000);
        assert.equal((await one.closed)[0], 1000);
      }
    });

    test("compresses what is long, both ways", async () => {
      const one = await identified({ token: "carol" });
      assert.match(one.ws.extensions, /permessage-deflate/);
      await one.request("subscribe", { channel: "room:long" });
      const data = { text: "wieder und wieder, ".repeat(1000) };
      await one.request("publish", { channel: "room:long", data });
      assert.deepEqual((await one.take("event")).data, data);
      one.ws.close(1000);
      await one.closed;
    });

    test("resumes after its socket was cut and misses nothing", async () => {
      const [carol, dave] = [await identified({ token: "carol" }), await identified({ token: "dave" })];
      const at = await carol.request("subscribe", { channel: "room:resume" });
      await carol.cut();
      const offsets = [];
      for (let n = 0; n < 5; n++) {
        offsets.push((await dave.request("publish", { channel: "room:resume", data: n })).offset);
      }
      const cursors = { "room:resume": { epoch: at.epoch, offset: at.offset } };
      const back = await identified({ token: "carol", resume: carol.ready.session, cursors });
      assert.equal(back.ready.resumed, true);
      assert.notEqual(back.ready.session, carol.ready.session);
      assert.equal(back.ready.subscriptions.length, 1);
      const [{ channel, recovered, offset }] = back.ready.subscriptions;
      assert.deepEqual([channel, recovered, offset], ["room:resume", true, offsets.at(-1)]);
      await dave.request("publish", { channel: "room:resume", data: "live" });
      const events = [];
      while (events.at(-1)?.data !== "live") events.push(await back.take("event"));
      assert.deepEqual(events.map((event) => event.data), [0, 1, 2, 3, 4, "live"]);
      await back.cut();
      await dave.cut();
    });

    test("crashes in the middle of a pipeline and every request gets exactly one reply", async () => {
      const [erin, bystander] = [await identified({ token: "erin" }), await identified({ token: "frank" })];
      await bystander.request("subscribe", { channel: "room:crash" });
      const ids = [erin.ask("subscribe", { channel: "room:crash" })];
      const publish = (n) => ids.push(erin.ask("publish", { channel: "room:crash", data: n }));
      for (let n = 0; n < 30; n++) publish(n);
      const crashes = [erin.ask("chaos", { fault: "panic" })];
      for (let n = 30; n < 60; n++) publish(n);
      crashes.push(erin.ask("chaos", { fault: "panic" }));
      ids.push(erin.ask("whoami"));
      const frames = [];
      const wanted = new Set([...ids, ...crashes]);
      while (wanted.size) {
        const reply = await erin.take("reply");
        frames.push(reply);
        wanted.delete(reply.id);
      }
      const rest = await erin.settle();
      const replies = [...frames, ...rest.filter((frame) => frame.op === "reply")];
      assert.equal(replies.length, ids.length + crashes.length);
      for (const reply of replies) {
        if (crashes.includes(reply.id)) {
          assert.deepEqual([reply.error.code, reply.error.retry], ["crashed", "later"]);
        } else {
          assert.ok(reply.ok, JSON.stringify(reply));
        }
      }
      const restarted = rest.filter((frame) => frame.op === "restarted");
      assert.deepEqual(restarted.map((frame) => [frame.generation - erin.ready.generation, frame.request, frame.lost]),
        [[1, crashes[0], 0], [2, crashes[1], 0]]);
      const everything = Array.from({ length: 60 }, (_, n) => n);
      assert.deepEqual(rest.filter((frame) => frame.op === "event").map((frame) => frame.data), everything);
      for (const n of everything) assert.equal((await bystander.take("event")).data, n);
      assert.deepEqual(await bystander.settle(), []);
      assert.equal(erin.ws.readyState, WebSocket.OPEN);
      await erin.cut();
      await bystander.cut();
    });

    test("comes back to a server that was killed, and no loss is silent", async () => {
      const gina = await identified({ token: "gina" });
      const at = await gina.request("subscribe", { channel: "room:kill" });
      await gina.request("publish", { channel: "room:kill", data: 1 });
      server.child.kill("SIGKILL");
      await server.ended;
      assert.equal((await gina.closed)[0], 1006);
      server = await startServer(folder, `127.0.0.1:${server.port}`);
      const cursors = { "room:kill": { epoch: at.epoch, offset: at.offset } };
      const back = await identified({ token: "gina", resume: gina.ready.session, cursors });
      const [found] = back.ready.subscriptions;
      if (found.recovered) assert.equal((await back.take("event")).data, 1);
      else assert.equal((await back.take("gap")).channel, "room:kill");
      await back.request("publish", { channel: "room:kill", data: "again" });
      await back.take("event", (event) => event.data === "again");
      await back.cut();
    });
  });
}
