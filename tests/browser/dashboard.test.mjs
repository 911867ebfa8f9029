// The dashboard in a real browser against a real server: plots that move, crashes and kicks by its buttons, a connection's
// page, the key, a server that goes and comes.
//
// SCREENSHOTS names a directory for pictures of it, light and dark, wide and narrow.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import WebSocket from "ws";
import { Board } from "./board.mjs";
import { Stage, staged } from "./stage.mjs";

const PICTURES = process.env.SCREENSHOTS;
const ATTACK = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>";

/** A client without a page, identified and subscribed by its address. */
async function client(server, user, subscribe = "chat:lobby") {
  const url = new URL(`/v1/gateway?token=${encodeURIComponent(user)}&subscribe=${subscribe}`, server.url.replace(/^http/, "ws"));
  const socket = new WebSocket(url);
  const ready = await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("message", (data) => {
      const frame = JSON.parse(data);
      if (frame.op === "ready") resolve(frame);
    });
  });
  return { socket, ready, closed: new Promise((resolve) => socket.on("close", resolve)) };
}

async function connectionOf(server, user) {
  const { connections } = await (await fetch(new URL("/v1/connections?sort=idle&limit=1000", server.url))).json();
  return connections.find((one) => one.user === user).connection;
}

describe("the dashboard", { timeout: 240_000 }, () => {
  const stage = staged("chaos.enabled=true", "supervision.max_restarts=100");
  const open = (hash) => Board.open(stage.window, stage.server.url, hash);

  test("plots and figures move when messages flow", async () => {
    const board = await open();
    await board.live();
    await board.health("healthy");
    const still = await board.drawn("Deliveries a second");
    const ada = await client(stage.server, "ada");
    await stage.server.publish("chat:lobby", ...Array.from({ length: 50 }, (_, nth) => `message ${nth}`));
    await board.row("ledger", /^delivered\d*[1-9]\d*$/);
    await board.tile("delivery", /µs|ms/);
    await board.page.waitForFunction(([title, before]) => {
      const plot = [...document.querySelectorAll("figure.plot")].find((one) => one.querySelector("h3").textContent === title);
      return plot.querySelector("canvas").toDataURL() !== before;
    }, ["Deliveries a second", still]);
    await board.row("ledger", "The sums match.");
    ada.socket.close();
    assert.deepEqual(board.complaints, []);
  });

  test("a crash by the chaos form stands in the table of crashes, and the sentence says so", async () => {
    const ada = await client(stage.server, "ada");
    const board = await open();
    await board.live();
    await board.page.fill("#amount", "1");
    await board.page.click("#chaos-form button:not([type])");
    await board.page.locator("#hit", { hasText: "Hit 1." }).waitFor();
    const row = await board.row("crashes", /lifecycle\.rs:\d+:\d+/);
    assert.match(await row.textContent(), /chaos: asked to panic/);
    await board.health("degraded");
    await board.page.locator("#health-text", { hasText: "within a minute" }).waitFor();
    await board.page.selectOption("#sort", "restarts");
    await board.row("worst", "ada");
    await board.page.click("#panic-shard");
    await board.page.locator("#actors tr", { hasText: /^shard-\drunning[1-9]/ }).first().waitFor();
    await board.page.getByRole("button", { name: "Panic live" }).click();
    await board.row("actors", /^liverunning1/);
    assert.equal(ada.socket.readyState, WebSocket.OPEN);
    ada.socket.close();
    assert.deepEqual(board.complaints, []);
  });

  test("a connection has a page with its record, and what can be done to it", async () => {
    const eve = await client(stage.server, "eve", "chat:lobby,room:1");
    const id = await connectionOf(stage.server, "eve");
    const board = await open();
    await board.live();
    await board.page.selectOption("#sort", "idle");
    await (await board.row("worst", "eve")).getByRole("link").click();
    await board.fact("user", "eve");
    await board.fact("generation", /^1$/);
    assert.equal(await board.page.textContent("#who"), id);
    assert.deepEqual((await board.page.locator("#channels li").allTextContents()).sort(), ["chat:lobby", "room:1"]);
    const record = await board.page.locator("#record").textContent();
    assert.match(record, /"phase": "ready"/);
    assert.match(record, /"secret": "hidden"/);
    await board.page.click("#panic-it");
    await board.fact("generation", /^2$/);
    await board.page.locator("#done", { hasText: "has crashed" }).waitFor();
    await board.page.click("#stall-it");
    await board.page.locator("#done", { hasText: "blocks its shard" }).waitFor();
    await board.page.click("#drop-it");
    await board.fact("state", "parked");
    assert.equal(await eve.closed, 1006);
    await board.page.goBack();
    await board.page.locator("#board:not([hidden])").waitFor();
    assert.deepEqual(board.complaints, []);
  });

  test("a kick wants to be confirmed, closes with 4503, and the page says that its connection is gone", async () => {
    const tom = await client(stage.server, "tom");
    const board = await open(`#connection=${await connectionOf(stage.server, "tom")}`);
    await board.fact("user", "tom");
    await board.page.click("#kick");
    await board.page.locator("#kick", { hasText: "Really kick it?" }).waitFor();
    assert.equal(tom.socket.readyState, WebSocket.OPEN);
    await board.page.click("#kick");
    assert.equal(await tom.closed, 4503);
    await board.page.locator("#done", { hasText: "Kicked." }).waitFor();
    await board.page.goto(new URL("/dashboard#connection=c123456", stage.server.url).href);
    await board.page.locator("#gone", { hasText: "is gone" }).waitFor();
    assert.deepEqual(board.complaints, []);
  });

  test("names are text and never markup", async () => {
    const { socket } = await client(stage.server, ATTACK);
    const board = await open();
    await board.live();
    await board.page.selectOption("#sort", "idle");
    const row = await board.row("worst", "<b>bold</b>");
    await row.getByRole("link").click();
    await board.fact("user", ATTACK);
    assert.equal(await board.page.locator("main img, main b b, main script").count(), 0);
    assert.doesNotMatch(await board.page.title(), /owned/);
    socket.close();
    assert.deepEqual(board.complaints, []);
  });

  test("a plot is read by the keyboard, and all of them show the same moment", async () => {
    const board = await open();
    await board.live();
    const before = [await board.drawn("Processor"), await board.drawn("Memory")];
    await board.plot("Processor").focus();
    await board.page.keyboard.press("End");
    await board.page.keyboard.press("ArrowLeft");
    await board.page.locator("#aloud", { hasText: /^\d\d:\d\d:\d\d: cores \d/ }).waitFor({ state: "attached" });
    assert.notDeepEqual([await board.drawn("Processor"), await board.drawn("Memory")], before);
    assert.deepEqual(board.complaints, []);
  });

  test("it stands still while it is paused, and is asked as rarely as one wants", async () => {
    const [board, clock] = [await open(), await open()];
    for (const one of [board, clock]) await one.live();
    await board.page.selectOption("#every", "2");
    await board.page.click("#pause");
    await board.page.locator("#state", { hasText: "paused" }).waitFor();
    const node = await board.page.textContent("#node");
    for (let samples = 0; samples < 3; samples++) await clock.another();
    assert.equal(await board.page.textContent("#node"), node);
    await board.page.click("#pause");
    await board.page.locator("#state", { hasText: "live" }).waitFor();
    await board.page.waitForFunction((before) => document.querySelector("#node").textContent !== before, node);
    assert.deepEqual([board.complaints, clock.complaints], [[], []]);
  });

  test("nothing is wider than a phone of 360 pixels", async () => {
    const board = await open();
    await board.page.setViewportSize({ width: 360, height: 740 });
    await board.live();
    assert.equal(await board.width(), 360);
    const { socket } = await client(stage.server, "a-name-that-is-as-long-as-a-name-may-be-in-a-table-of-names");
    await board.page.selectOption("#sort", "idle");
    await (await board.row("worst", "a-name")).getByRole("link").click();
    await board.fact("user", "a-name");
    assert.equal(await board.width(), 360);
    socket.close();
  });

  test("a server that was killed and comes back is shown again, with another past", async () => {
    const board = await open();
    await board.live();
    const before = (await board.page.textContent("#node")).split(",")[0];
    await stage.server.kill();
    await board.state("away");
    await board.page.locator("#state", { hasText: "does not answer" }).waitFor();
    await stage.server.restart();
    await board.state("live");
    await board.page.waitForFunction((old) => !document.querySelector("#node").textContent.startsWith(old), before);
    assert.deepEqual(board.complaints, []);
  });

  test("pictures", { skip: !PICTURES }, async () => {
    const crowd = await Promise.all(Array.from({ length: 30 }, (_, nth) => client(stage.server, `guest${nth}`, `chat:room${nth % 3},live:all`)));
    const talk = setInterval(() => {
      const channels = ["chat:room0", "chat:room1", "chat:room2", "live:all"];
      for (const channel of channels) stage.server.publish(channel, "hello", "again").catch(() => {});
    }, 150);
    const chaos = (body) => fetch(new URL("/v1/chaos", stage.server.url), { method: "POST", body: JSON.stringify(body) });
    const watching = await open();
    await watching.live();
    for (let nth = 0; nth < 20; nth++) {
      if (nth % 5 === 2) await chaos({ fault: "panic", target: { count: nth } });
      if (nth === 8) await chaos({ fault: "stall", target: { count: 1 }, ms: 200 });
      await watching.another();
    }
    await mkdir(PICTURES, { recursive: true });
    const id = await connectionOf(stage.server, "guest3");
    for (const [name, hash] of [["dashboard", ""], ["connection", `#connection=${id}`]]) {
      for (const [scheme, width, height] of [["light", 1440, 900], ["dark", 1440, 900], ["light", 360, 740], ["dark", 360, 740], ["light", 1920, 1080]]) {
        const board = await open(hash);
        await board.page.emulateMedia({ colorScheme: scheme });
        await board.page.setViewportSize({ width, height });
        if (hash) await board.fact("user", "guest3");
        else await board.live();
        assert.equal(await board.width(), width);
        await board.page.screenshot({ path: join(PICTURES, `${name}-${scheme}-${width}.png`), fullPage: true });
        await board.page.close();
      }
    }
    clearInterval(talk);
    for (const { socket } of crowd) socket.close();
  });
});

describe("the dashboard of a server with keys", { timeout: 120_000 }, () => {
  const stage = staged('api.keys=["the whole", {key = "only reads", scopes = ["read"]}]', "chaos.enabled=true");
  const open = (hash) => Board.open(stage.window, stage.server.url, hash);
  const enter = async (board, key) => {
    await board.page.fill("#key", key);
    await board.page.press("#key", "Enter");
  };

  test("it asks for a key, says that another one is wrong, and keeps the right one for the tab", async () => {
    const board = await open();
    await board.state("locked");
    assert.equal(await board.page.locator("#board").isVisible(), false);
    assert.equal(await board.page.textContent("#trouble"), "");
    if (PICTURES) await board.page.screenshot({ path: join(PICTURES, "dashboard-key.png") });
    await enter(board, "a guess");
    await board.page.locator("#trouble", { hasText: "none of the server's api.keys" }).waitFor();
    await enter(board, "the whole");
    await board.live();
    assert.equal(await board.page.textContent("#trouble"), "");
    await board.page.locator("#chaos").waitFor();
    assert.doesNotMatch(board.page.url(), /whole/);
    await board.page.reload();
    await board.live();
    const stranger = await open();
    await stranger.state("locked");
    assert.deepEqual([board.complaints, stranger.complaints], [[], []]);
  });

  test("a key that only reads gets no buttons", async () => {
    const ada = await client(stage.server, "ada");
    const board = await open();
    await board.state("locked");
    await enter(board, "only reads");
    await board.live();
    assert.equal(await board.page.locator("#chaos").isVisible(), false);
    assert.equal(await board.page.getByRole("button", { name: /Panic/ }).count(), 0);
    await board.page.selectOption("#sort", "idle");
    await (await board.row("worst", "ada")).getByRole("link").click();
    await board.fact("user", "ada");
    assert.equal(await board.page.locator("#kick").isVisible(), false);
    assert.equal(await board.page.locator("#faults").isVisible(), false);
    ada.socket.close();
    assert.deepEqual(board.complaints, []);
  });
});

test("where chaos is off there are no chaos controls", { timeout: 60_000 }, async () => {
  const stage = await Stage.open();
  try {
    const board = await Board.open(stage.window, stage.server.url);
    await board.live();
    assert.equal(await board.page.locator("#chaos").isVisible(), false);
    assert.equal(await board.page.getByRole("button", { name: /Panic/ }).count(), 0);
  } finally {
    await stage.close();
  }
});
