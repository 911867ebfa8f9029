// The chat page in a real browser against a real server: talking, crashing one's actor, losing the server and its return.
//
// SCREENSHOTS names a directory for pictures of it, light and dark, wide and narrow.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Stage, staged } from "./stage.mjs";

const PICTURES = process.env.SCREENSHOTS;

describe("the chat page", { timeout: 180_000 }, () => {
  const stage = staged("chaos.enabled=true");
  const tabs = (...names) => Promise.all(names.map((name) => stage.tab(name)));

  test("two tabs are two people who talk, see each other and see each other type", async () => {
    const [ada, eve] = await tabs("ada", "eve");
    await Promise.all([ada.shows("count", 2), eve.shows("count", 2)]);
    await ada.say("hello from ada");
    await eve.hears("hello from ada");
    await eve.page.locator("#draft").pressSequentially("hi");
    await ada.page.locator("#typing", { hasText: "eve is typing" }).waitFor();
    await eve.say("hello from eve");
    await ada.hears("hello from eve");
    await ada.page.waitForFunction(() => document.querySelector("#typing").textContent === "");
    await eve.page.selectOption("#status", "busy");
    await ada.page.locator(".person", { hasText: "eve" }).locator('[data-status="busy"]').waitFor();
    for (const tab of [ada, eve]) {
      assert.equal(await tab.count("hello from ada"), 1);
      assert.equal(await tab.count("hello from eve"), 1);
      assert.deepEqual(tab.complaints, []);
    }
  });

  test("what people write is text and never markup", async () => {
    const [ada, eve] = await tabs("ada", "eve");
    const attack = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> javascript:alert(1)";
    await ada.say(attack);
    await eve.hears(attack);
    assert.equal(await eve.page.locator(".scroller img, .scroller script, .scroller a").count(), 0);
    assert.doesNotMatch(await eve.page.title(), /owned/);
    assert.deepEqual(eve.complaints, []);
  });

  test("Shift and Enter begins a line, Enter sends both", async () => {
    const [ada] = await tabs("ada");
    await ada.page.fill("#draft", "first line");
    await ada.page.press("#draft", "Shift+Enter");
    await ada.page.locator("#draft").pressSequentially("second line");
    await ada.page.press("#draft", "Enter");
    await ada.hears("first line\nsecond line");
    assert.equal(await ada.page.inputValue("#draft"), "");
  });

  test("rooms are apart, and a message elsewhere is counted", async () => {
    const [ada, eve] = await tabs("ada", "eve");
    await ada.page.fill("#room-name", "Deep Woods");
    await ada.page.press("#room-name", "Enter");
    await ada.page.locator(".room[aria-current]", { hasText: "deep-woods" }).waitFor();
    await eve.say("only in the lobby");
    await ada.page.locator(".room.unread", { hasText: "lobby" }).locator(".badge", { hasText: "1" }).waitFor();
    assert.equal(await ada.page.locator(".scroller:not([hidden]) .message").count(), 0);
    await ada.page.click(".room:has-text('lobby')");
    await ada.hears("only in the lobby");
    assert.equal(await ada.page.locator(".room.unread").count(), 0);
  });

  test("a crashed actor comes back three times while its socket stays open", async () => {
    const [ada, eve] = await tabs("ada", "eve");
    const connection = await ada.showsOther("connection", "–");
    const generation = Number(await ada.field("generation"));
    const eves = await eve.field("generation");
    const uptime = await ada.uptime();
    for (let crash = 1; crash <= 3; crash++) {
      await ada.page.click("#crash");
      await ada.shows("generation", generation + crash);
      await ada.page.locator(".toast", { hasText: `generation ${generation + crash}` }).waitFor();
      await ada.say(`ada after crash ${crash}`);
      await eve.hears(`ada after crash ${crash}`);
      await eve.say(`eve after crash ${crash}`);
      await ada.hears(`eve after crash ${crash}`);
    }
    assert.equal(await ada.field("restarts"), "3");
    assert.equal(await ada.field("reconnects"), "0");
    assert.equal(await ada.field("connection"), connection);
    assert.ok(await ada.uptime() >= uptime, "the socket became younger");
    assert.deepEqual([ada.opened, ada.open], [1, 1]);
    assert.deepEqual([eve.opened, eve.open], [1, 1]);
    assert.equal(await eve.field("generation"), eves);
    assert.equal(await eve.field("count"), "2");
    assert.deepEqual(ada.complaints, []);
    await photograph(ada);
  });

  test("a server that was killed and started again gets both tabs back, and what was written meanwhile", async () => {
    const [ada, eve] = await tabs("ada", "eve");
    await ada.say("before the end");
    await eve.hears("before the end");
    await stage.server.kill();
    await Promise.all([ada.state("reconnecting"), eve.state("reconnecting")]);
    await ada.say("written while nobody listened");
    await ada.page.locator('.message[data-delivery="sending"]').waitFor();
    if (PICTURES) await picture(ada, "reconnecting-light-1280");
    await stage.server.restart();
    await Promise.all([ada.state("live"), eve.state("live")]);
    await Promise.all([ada.hears("written while nobody listened"), eve.hears("written while nobody listened")]);
    await eve.say("welcome back");
    await ada.hears("welcome back");
    for (const tab of [ada, eve]) {
      assert.equal(await tab.count("written while nobody listened"), 1);
      assert.equal(await tab.count("before the end"), 1);
      assert.equal(await tab.field("reconnects"), "1");
      assert.equal(tab.open, 1);
      await tab.shows("count", 2);
      assert.deepEqual(tab.complaints, []);
    }
  });

  test("a reloaded tab is the same person and has the conversation", async () => {
    const [ada] = await tabs("ada");
    await ada.say("still here after a reload");
    await ada.hears("still here after a reload");
    await ada.page.reload();
    await ada.state("live");
    await ada.hears("still here after a reload");
    assert.equal(await ada.page.textContent("#me-name"), "ada");
  });

  test("nothing is wider than a phone of 360 pixels, and drawers open and close by keyboard", async () => {
    const [ada] = await tabs("ada");
    await ada.page.setViewportSize({ width: 360, height: 640 });
    assert.equal(await ada.page.evaluate(() => document.documentElement.scrollWidth), 360);
    await ada.page.waitForFunction(() => {
      const { scrollHeight, scrollTop, clientHeight } = document.querySelector(".scroller:not([hidden])");
      return scrollHeight - scrollTop - clientHeight < 2; // still at the end, though everything was wrapped anew
    });
    for (const [opener, drawer] of [["#open-panel", "#panel"], ["#open-sidebar", "#sidebar"]]) {
      await ada.page.press(opener, "Enter");
      await ada.page.locator(`${drawer}.open`).waitFor();
      await ada.page.keyboard.press("Escape");
      await ada.page.locator(drawer).waitFor({ state: "hidden" });
      assert.equal(await ada.page.evaluate((id) => document.activeElement === document.querySelector(id), opener), true);
    }
  });
});

test("where chaos is off, the page says how to switch it on", { timeout: 60_000 }, async () => {
  const stage = await Stage.open();
  try {
    const tab = await stage.tab("ada");
    await tab.page.click("#crash");
    await tab.page.locator(".toast", { hasText: "--set chaos.enabled=true" }).waitFor();
    assert.equal(await tab.field("restarts"), "0");
    assert.deepEqual([tab.opened, tab.open], [1, 1]);
  } finally {
    await stage.close();
  }
});

async function picture(tab, name) {
  await mkdir(PICTURES, { recursive: true });
  await tab.page.screenshot({ path: join(PICTURES, `${name}.png`) });
}

/** Light and dark, 1280 and 390 wide; narrow with the panel as well. */
async function photograph(tab) {
  if (!PICTURES) return;
  for (const colorScheme of ["light", "dark"]) {
    await tab.page.emulateMedia({ colorScheme });
    await tab.page.setViewportSize({ width: 1280, height: 800 });
    await picture(tab, `chat-${colorScheme}-1280`);
    await tab.page.setViewportSize({ width: 390, height: 780 });
    await picture(tab, `chat-${colorScheme}-390`);
    await tab.page.click("#open-panel");
    await tab.page.locator("#panel.open").waitFor();
    await picture(tab, `panel-${colorScheme}-390`);
    await tab.page.keyboard.press("Escape");
  }
}
