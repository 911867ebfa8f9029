// One tab of the chat page, as a person uses it: by its fields and buttons, waiting for what can be seen.
//
// Counts the sockets that the page opens, which the page cannot pretend. Used by *.test.mjs beside it.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const LIST = ".scroller:not([hidden])";
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

  /** The same person in another tab, which has a storage of its own. */
  async again(url) {
    return Tab.join(this.page.context(), url, this.name);
  }

  async reload() {
    await this.page.reload();
    await this.state("live");
  }

  /** Nobody looks at the tab from now on: to a page under test every tab has the focus, unless it is told otherwise. */
  async lookAway() {
    await this.page.evaluate(() => {
      document.hasFocus = () => false;
      dispatchEvent(new Event("blur"));
    });
  }

  async lookBack() {
    await this.page.evaluate(() => {
      delete document.hasFocus;
      dispatchEvent(new Event("focus"));
    });
  }

  /** Begins a conversation of two by its field, and waits until it is shown. */
  async writeTo(name) {
    await this.page.fill("#person-name", name);
    await this.page.press("#person-name", "Enter");
    await this.shown(name);
  }

  /** @param {string} [title] what the room is called, where that is not what was typed */
  async openRoom(name, title = name) {
    await this.page.fill("#room-name", name);
    await this.page.press("#room-name", "Enter");
    await this.shown(title);
  }

  /** A conversation in the sidebar. */
  entry(title) {
    return this.page.locator(".room:not(.suggested)", { has: this.page.getByText(title, { exact: true }) });
  }

  async goTo(title) {
    await this.entry(title).click();
    await this.shown(title);
  }

  /** Waits until this conversation is the one that is shown. */
  async shown(title) {
    await this.page.locator("#room-title", { hasText: title }).waitFor();
  }

  /** Waits until a conversation has so many unread messages. */
  async unread(title, count) {
    const entry = this.entry(title);
    await entry.waitFor();
    if (count === 0) await entry.locator(".badge:empty").waitFor({ state: "attached" });
    else await entry.locator(".badge", { hasText: new RegExp(`^${count}$`) }).waitFor();
  }

  /** Waits until an own message has this mark. @param {"sending" | "stored" | "delivered" | "read"} state @param {string} [title] */
  async marked(text, state, title) {
    const row = this.page.locator(`.message.own[data-delivery="${state}"]`, { has: this.page.getByText(text, { exact: true }) });
    await row.locator(title === undefined ? ".delivery" : `.delivery[title="${title}"][aria-label="${title}"]`).waitFor();
  }

  titled(pattern) {
    return this.page.waitForFunction(([source]) => new RegExp(source).test(document.title), [pattern.source]);
  }

  /** Scrolls the list that is shown. */
  scrollTo(top) {
    return this.page.locator(LIST).evaluate((list, to) => { list.scrollTop = to; }, top);
  }

  /** Waits until this stands above the first message of the list that is shown. */
  begins(text) {
    return this.page.locator(`${LIST} .top`).getByText(text, { exact: true }).waitFor();
  }

  /** Waits until the list that is shown has so many messages. */
  rows(count) {
    return this.page.waitForFunction(
      ([list, wanted]) => document.querySelectorAll(`${list} .message[data-offset]`).length === wanted, [LIST, count]);
  }

  /** Of the list that is shown, from top to bottom. */
  offsets() {
    return this.page.locator(`${LIST} .message[data-offset]`).evaluateAll((rows) => rows.map((row) => Number(row.dataset.offset)));
  }

  texts() {
    return this.page.locator(`${LIST} .message .text`).allTextContents();
  }

  /** How far below the top of the window a message stands. */
  placeOf(text) {
    return this.page.locator(`${LIST} .text`).getByText(text, { exact: true }).evaluate((row) => row.getBoundingClientRect().top);
  }

  /** A message stands where it stood, to the pixel. */
  async stays(text, place) {
    const moved = Math.abs(await this.placeOf(text) - place);
    assert.ok(moved < 1, `"${text}" has moved by ${moved} pixels`);
  }

  async inView(text) {
    const [place, height] = [await this.placeOf(text), this.page.viewportSize().height];
    assert.ok(place > 0 && place < height, `"${text}" stands at ${place} of ${height} pixels`);
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
