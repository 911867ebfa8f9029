// One tab of the chat page, as a person uses it: by its fields and buttons, waiting for what can be seen.
//
// Counts the sockets that the page opens, which the page cannot pretend. Used by *.test.mjs beside it.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** A browser with a profile of its own, gone with it. */
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

/** A window with nothing in it; the tabs in it share nothing but the server. */
export const openWindow = (browser) => browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });

export class Tab {
  /** Sockets opened so far, and how many of them are still open. */
  opened = 0;
  open = 0;
  /** Uncaught errors, and complaints on the console other than those about a server that is away. */
  complaints = [];

  static async join(context, url, name) {
    const tab = new Tab();
    tab.name = name;
    tab.page = await context.newPage();
    tab.page.setDefaultTimeout(30_000);
    tab.page.on("websocket", (socket) => {
      tab.opened += 1;
      tab.open += 1;
      socket.on("close", () => { tab.open -= 1; });
    });
    tab.page.on("pageerror", (error) => tab.complaints.push(error.stack));
    tab.page.on("console", (message) => {
      if (message.type() === "error" && !/WebSocket connection|ERR_CONNECTION/.test(message.text())) tab.complaints.push(message.text());
    });
    await tab.page.goto(url);
    assert.notEqual(await tab.page.inputValue("#name"), "", "no name is suggested");
    await tab.page.fill("#name", name);
    await tab.page.press("#name", "Enter");
    await tab.state("live");
    return tab;
  }

  state(state) {
    return this.page.waitForSelector(`body[data-state="${state}"]`);
  }

  async say(text) {
    await this.page.fill("#draft", text);
    await this.page.press("#draft", "Enter");
  }

  /** Waits until the message is here and confirmed by the server. */
  async hears(text) {
    await this.page.locator(".message[data-offset]", { has: this.page.locator(".text", { hasText: text }) }).first().waitFor();
  }

  /** How often a message stands in the list. */
  count(text) {
    return this.page.locator(".message .text", { hasText: text }).count();
  }

  field(name) {
    return this.page.locator(`[data-field="${name}"]`).first().textContent();
  }

  /** Waits until a field of the panel shows this. */
  async shows(name, value) {
    await this.page.waitForFunction(
      ([field, wanted]) => document.querySelector(`[data-field="${field}"]`).textContent === wanted, [name, String(value)]);
  }

  /** Waits until a field shows something else than this, and returns it. */
  async showsOther(name, value) {
    await this.page.waitForFunction(
      ([field, old]) => document.querySelector(`[data-field="${field}"]`).textContent !== old, [name, value]);
    return this.field(name);
  }

  /** Age of the socket in seconds, as shown. */
  async uptime() {
    const [, minutes, seconds] = /(\d+):(\d\d)$/.exec(await this.field("since"));
    return Number(minutes) * 60 + Number(seconds);
  }
}
