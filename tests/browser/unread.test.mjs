// Unread counts: beside each conversation and in the document's title, after a reload, and in two tabs of one person.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { staged } from "./stage.mjs";

describe("unread messages", { timeout: 180_000 }, () => {
  const stage = staged();
  const tab = (name) => stage.tab(name);

  test("they are counted per conversation and in the title, and gone when read", async () => {
    const [ada, eve] = [await tab("ada"), await tab("eve")];
    for (const one of [ada, eve]) await one.openRoom("cellar");
    await ada.goTo("lobby");
    for (const text of ["one", "two"]) await eve.say(text);
    await eve.writeTo("ada");
    await eve.say("psst");
    await ada.unread("cellar", 2);
    await ada.unread("eve", 1);
    await ada.titled(/^\(3\) #lobby · Dormouse$/);
    assert.equal(await ada.entry("cellar").getAttribute("aria-label"), "Room cellar, 2 unread");
    await ada.goTo("cellar");
    await ada.unread("cellar", 0);
    await ada.titled(/^\(1\) #cellar · Dormouse$/);
    await ada.goTo("eve");
    await ada.unread("eve", 0);
    await ada.titled(/^eve · Dormouse$/);
  });

  test("a reload counts the same, and what was read stays read", async () => {
    const [kim, leo] = [await tab("kim"), await tab("leo")];
    await leo.writeTo("kim");
    for (const text of ["one", "two", "three"]) await leo.say(text);
    await kim.unread("leo", 3);
    await kim.reload();
    await kim.unread("leo", 3);
    await kim.goTo("leo");
    await leo.marked("three", "read");
    await kim.goTo("lobby");
    await leo.say("four");
    await kim.unread("leo", 1);
    await kim.reload();
    await kim.unread("leo", 1);
    await kim.titled(/^\(1\) /);
    await kim.goTo("leo");
    await leo.marked("four", "read");
    await kim.reload();
    await kim.unread("leo", 0);
  });

  test("what one tab reads is read in the other tab of the same person", async () => {
    const [pia, tom] = [await tab("pia"), await tab("tom")];
    const second = await pia.again(stage.server.url);
    await tom.writeTo("pia");
    for (const text of ["one", "two"]) await tom.say(text);
    for (const one of [pia, second]) await one.unread("tom", 2);
    await second.goTo("tom");
    for (const one of [pia, second]) await one.unread("tom", 0);
    await pia.titled(/^#lobby · Dormouse$/);
    await second.say("an answer");
    await tom.hears("an answer");
    await second.lookAway();
    await tom.say("three");
    for (const one of [pia, second]) await one.unread("tom", 1);
    await pia.goTo("tom");
    await pia.hears("an answer");
    for (const one of [pia, second]) await one.unread("tom", 0);
    assert.equal(await pia.count("an answer"), 1);
  });

  test("in a tab that nobody looks at nothing is read, however open the conversation", async () => {
    const [uma, vic] = [await tab("uma"), await tab("vic")];
    await uma.writeTo("vic");
    await vic.writeTo("uma");
    await uma.lookAway();
    await vic.say("hello?");
    await uma.hears("hello?");
    await uma.unread("vic", 1);
    await uma.titled(/^\(1\) vic · Dormouse$/);
    await vic.marked("hello?", "delivered");
    await uma.lookBack();
    await uma.unread("vic", 0);
    await vic.marked("hello?", "read");
  });

  test("what comes below the end of the view is unread until one scrolls there", async () => {
    const [xena, yuri] = [await tab("xena"), await tab("yuri")];
    await yuri.writeTo("xena");
    for (let n = 1; n <= 40; n++) await yuri.say(`line ${n}`);
    await xena.goTo("yuri");
    await yuri.marked("line 40", "read");
    await xena.scrollTo(0);
    await yuri.say("below");
    await xena.page.locator("#jump").waitFor();
    await xena.unread("yuri", 1);
    await yuri.marked("below", "delivered");
    await xena.page.click("#jump");
    await yuri.marked("below", "read");
    await xena.unread("yuri", 0);
    await xena.page.locator("#jump").waitFor({ state: "hidden" });
  });

  test("a killed server comes back with the same counts", async () => {
    const [ben, cleo] = [await tab("ben"), await tab("cleo")];
    await cleo.writeTo("ben");
    for (const text of ["one", "two"]) await cleo.say(text);
    await ben.unread("cleo", 2);
    await stage.server.kill();
    await Promise.all([ben.state("reconnecting"), cleo.state("reconnecting")]);
    await cleo.say("three");
    await stage.server.restart();
    await cleo.marked("three", "delivered");
    await ben.unread("cleo", 3);
    await ben.goTo("cleo");
    await cleo.marked("three", "read");
    await ben.unread("cleo", 0);
    for (const one of [ben, cleo]) assert.deepEqual(one.complaints, []);
  });
});
