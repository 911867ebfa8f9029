// Marks on own messages: on their way, stored, delivered, read, in conversations of two and in rooms.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { staged } from "./stage.mjs";

describe("marks", { timeout: 180_000 }, () => {
  const stage = staged();
  const tab = (name) => stage.tab(name);

  test("a direct message is stored, then delivered, then read", async () => {
    const ada = await tab("ada");
    await ada.writeTo("eve");
    await ada.say("are you there?");
    await ada.marked("are you there?", "stored", "Sent, not yet delivered to eve");
    const eve = await tab("eve");
    await ada.marked("are you there?", "delivered", "Delivered to eve");
    await eve.lookAway();
    await eve.goTo("ada");
    await eve.hears("are you there?");
    await ada.say("you do not look");
    await ada.marked("you do not look", "delivered");
    await ada.marked("are you there?", "delivered");
    await eve.lookBack();
    await ada.marked("you do not look", "read", "Read by eve");
    await ada.marked("are you there?", "read");
    await eve.say("now I do");
    await eve.marked("now I do", "read");
    for (const one of [ada, eve]) assert.deepEqual(one.complaints, []);
  });

  test("marks are the same after a reload, and after the other one has gone", async () => {
    const [ann, bob] = [await tab("ann"), await tab("bob")];
    await ann.writeTo("bob");
    await ann.say("first");
    await bob.goTo("ann");
    await ann.marked("first", "read");
    await bob.page.close();
    await ann.page.locator('#peer-dot[data-status="away"]').waitFor();
    await ann.say("second");
    await ann.marked("second", "stored");
    await ann.reload();
    await ann.shown("bob");
    await ann.marked("first", "read", "Read by bob");
    await ann.marked("second", "stored", "Sent, not yet delivered to bob");
  });

  test("in a room a message is read when all members have read it, and the title says who has not", async () => {
    const [kim, leo, max] = [await tab("kim"), await tab("leo"), await tab("max")];
    for (const one of [kim, leo, max]) await one.openRoom("attic");
    for (const one of [kim, leo, max]) await one.shows("count", 3);
    await max.lookAway();
    await kim.say("who reads this?");
    await kim.marked("who reads this?", "delivered", "Read by leo. Delivered to max");
    await max.page.close();
    await kim.shows("count", 2);
    await kim.say("and this?");
    await kim.marked("and this?", "stored", "Read by leo. Not yet delivered to max");
    const back = await tab("max");
    await kim.marked("and this?", "delivered");
    await back.goTo("attic");
    await kim.marked("and this?", "read", "Read by leo and max");
  });

  test("a message written while the server is dead is on its way, and is delivered when the server is back", async () => {
    const [pia, tom] = [await tab("pia"), await tab("tom")];
    await pia.writeTo("tom");
    await pia.say("before");
    await tom.goTo("pia");
    await pia.marked("before", "read");
    await tom.lookAway();
    await stage.server.kill();
    await pia.state("reconnecting");
    await pia.say("into the dark");
    await pia.marked("into the dark", "sending", "Sending");
    await stage.server.restart();
    await pia.marked("into the dark", "delivered");
    await pia.marked("before", "read");
    await tom.lookBack();
    await pia.marked("into the dark", "read");
    for (const one of [pia, tom]) assert.deepEqual([one.complaints, await one.count("into the dark")], [[], 1]);
  });
});
