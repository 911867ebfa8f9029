// Direct messages, rooms and last seen: conversations that are begun, found again elsewhere, and left.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Stage, staged } from "./stage.mjs";
import { openWindow, Tab } from "./tab.mjs";

describe("conversations", { timeout: 180_000 }, () => {
  const stage = staged();
  const tab = (name) => stage.tab(name);

  test("one is begun by a click on a person, and appears for the other without a word of his", async () => {
    const [eve, ada] = [await tab("eve"), await tab("ada")];
    await ada.page.getByRole("button", { name: "Message eve, online" }).press("Enter");
    await ada.shown("eve");
    assert.match(ada.page.url(), /#@eve$/);
    assert.equal(await eve.entry("ada").count(), 0, "nothing was said yet");
    await ada.say("only for you");
    await eve.unread("ada", 1);
    await eve.page.locator(".toast", { hasText: "New conversation with ada" }).waitFor();
    await eve.goTo("ada");
    await eve.hears("only for you");
    await eve.page.locator("#draft").pressSequentially("hm");
    await ada.page.locator("#typing", { hasText: "eve is typing" }).waitFor();
    await eve.say("and for you");
    await ada.hears("and for you");
    for (const one of [ada, eve]) {
      assert.deepEqual(await one.texts(), ["only for you", "and for you"]);
      assert.deepEqual(one.complaints, []);
    }
  });

  test("one can be begun by name with somebody who was never here, and is there when he comes", async () => {
    const ann = await tab("ann");
    await ann.writeTo("zoe");
    await ann.shows("peer", "offline");
    await ann.say("welcome, whenever you come");
    await ann.marked("welcome, whenever you come", "stored");
    const zoe = await tab("zoe");
    await ann.shows("peer", "online");
    await zoe.unread("ann", 1);
    await zoe.goTo("ann");
    await zoe.hears("welcome, whenever you come");
  });

  test("what cannot be a name is answered with a sentence, by the keyboard's side", async () => {
    const bo = await tab("bo");
    const refuses = async (field, text, sentence) => {
      await bo.page.fill(`#${field}-name`, text);
      await bo.page.press(`#${field}-name`, "Enter");
      await bo.page.locator(`#${field}-hint`, { hasText: sentence }).waitFor();
      assert.equal(await bo.page.getAttribute(`#${field}-name`, "aria-invalid"), "true");
      assert.equal(await bo.page.evaluate(() => document.activeElement.id), `${field}-name`);
    };
    await refuses("person", "", "Type the name of the person");
    await refuses("person", "a+b", "Names have 1 to 32 letters");
    await refuses("room", "!!!", "needs at least one letter or digit");
    await bo.writeTo("al");
    await bo.page.locator("#person-hint").waitFor({ state: "hidden" });
    assert.equal(await bo.page.getAttribute("#person-name", "aria-invalid"), null);
  });

  test("joined conversations are there on any browser, also after a killed server, until they are left", async () => {
    const lea = await tab("lea");
    await lea.openRoom("Tree House", "tree-house");
    await lea.page.getByRole("button", { name: "Join garden" }).click();
    await lea.shown("garden");
    await lea.writeTo("max");
    const elsewhere = await Tab.join(await openWindow(stage.browser), stage.server.url, "lea");
    for (const title of ["lobby", "garden", "tree-house", "max"]) await elsewhere.entry(title).waitFor();
    await stage.server.kill();
    await lea.state("reconnecting");
    await stage.server.restart();
    await Promise.all([lea.state("live"), elsewhere.state("live")]);
    await lea.goTo("garden");
    await lea.page.click("#leave-room");
    await lea.shown("lobby");
    for (const one of [lea, elsewhere]) {
      await one.entry("garden").waitFor({ state: "detached" });
      await one.page.getByRole("button", { name: "Join garden" }).waitFor();
    }
    await elsewhere.openRoom("cave");
    await lea.entry("cave").waitFor();
    await lea.reload();
    for (const title of ["lobby", "tree-house", "cave", "max"]) await lea.entry(title).waitFor();
    assert.equal(await lea.entry("garden").count(), 0);
    await elsewhere.page.context().close();
    assert.deepEqual(lea.complaints, []);
  });

  test("the list and a conversation of two say how somebody is, and when he was last seen", async () => {
    const [ivy, jon] = [await tab("ivy"), await tab("jon")];
    await ivy.writeTo("jon");
    await ivy.say("hello");
    await ivy.shows("peer", "online");
    await jon.page.selectOption("#status", "busy");
    await ivy.shows("peer", "busy");
    await ivy.page.locator('#direct .dot[data-status="busy"]').waitFor();
    await jon.page.close();
    await ivy.shows("peer", "last seen just now");
    await ivy.goTo("lobby");
    await ivy.page.getByRole("button", { name: "Message jon, last seen just now" }).waitFor();
    await ivy.reload();
    await ivy.page.getByRole("button", { name: "Message jon, last seen just now" }).waitFor();
    await ivy.page.clock.install({ time: Date.now() + 5 * 60_000 + 2_000 });
    await ivy.reload();
    await ivy.page.getByRole("button", { name: "Message jon, last seen 5 min ago" }).waitFor();
    await ivy.goTo("jon");
    await ivy.shows("peer", "last seen 5 min ago");
    await ivy.page.clock.fastForward("01:00:20");
    await ivy.shows("peer", "last seen 1 h ago");
  });

  test("a server that was killed has forgotten who was seen when, and the messages tell", async () => {
    const [mia, ned] = [await tab("mia"), await tab("ned")];
    await ned.writeTo("mia");
    await ned.say("see you");
    await mia.goTo("ned");
    await ned.marked("see you", "read");
    await ned.page.close();
    await mia.shows("peer", "last seen just now");
    await stage.server.kill();
    await mia.state("reconnecting");
    await stage.server.restart();
    await mia.state("live");
    await mia.reload();
    await mia.shown("ned");
    await mia.shows("peer", "last seen just now");
    assert.deepEqual(mia.complaints, []);
  });

  test("who has to say again who he is finds his conversations", async () => {
    const sockets = [];
    await stage.window.routeWebSocket(/gateway/, (socket) => {
      socket.connectToServer();
      sockets.push(socket);
    });
    const [pam, rob] = [await tab("pam"), await tab("rob")];
    await pam.openRoom("vault");
    await pam.writeTo("rob");
    await pam.say("before");
    await sockets[0].close({ code: 4502, reason: "token_expired" });
    await pam.page.locator("#token").waitFor();
    await rob.goTo("pam");
    await rob.say("after");
    await pam.page.fill("#name", "pam");
    await pam.page.press("#name", "Enter");
    await pam.shows("peer", "online");
    await pam.hears("after");
    await rob.marked("after", "read");
    assert.deepEqual(await pam.texts(), ["before", "after"]);
    for (const title of ["lobby", "vault", "rob"]) assert.equal(await pam.entry(title).count(), 1);
    await pam.say("still me");
    await rob.hears("still me");
    assert.deepEqual(pam.complaints, []);
  });

  test("an address leads to its conversation", async () => {
    const kai = new Tab();
    const page = await stage.window.newPage();
    Object.assign(kai, { page, name: "kai" });
    await page.goto(`${stage.server.url}#@lou`);
    await page.fill("#name", "kai");
    await page.press("#name", "Enter");
    await kai.shown("lou");
    await kai.entry("lobby").waitFor();
    await page.evaluate(() => { location.hash = "#night-shift"; });
    await kai.shown("night-shift");
  });
});

test("where nothing is kept, one can talk all the same", { timeout: 60_000 }, async () => {
  const stage = await Stage.open("channels.chat.durable=false");
  try {
    const [ada, eve] = [await stage.tab("ada"), await stage.tab("eve")];
    await eve.openRoom("sand");
    await ada.openRoom("sand");
    await ada.say("written in sand");
    await eve.hears("written in sand");
    await ada.goTo("lobby");
    await eve.say("gone with the tide");
    await ada.unread("sand", 1);
    await stage.server.kill();
    await Promise.all([ada.state("reconnecting"), eve.state("reconnecting")]);
    await stage.server.restart();
    await Promise.all([ada.state("live"), eve.state("live")]);
    await ada.goTo("sand");
    await eve.say("a new shore");
    await ada.hears("a new shore");
    assert.deepEqual(await ada.texts(), ["a new shore"], "what is of another life of the channel has gone with it");
    for (const one of [ada, eve]) assert.deepEqual(one.complaints, []);
  } finally {
    await stage.close();
  }
});
