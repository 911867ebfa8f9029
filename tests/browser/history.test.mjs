// The past of a conversation: the newest page when it is opened, older ones while one scrolls up, and its beginning.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Stage, staged } from "./stage.mjs";

const MANY = 130;

describe("history", { timeout: 180_000 }, () => {
  const stage = staged();
  before(() => stage.server.publish("chat:archive", ...range(1, MANY).map((n) => `entry ${n}`)));
  const tab = (name) => stage.tab(name);

  test("opening shows the newest page, scrolling up the others, down to the beginning", async () => {
    const ada = await tab("ada");
    await ada.openRoom("archive");
    await ada.hears(`entry ${MANY}`);
    assert.deepEqual(await ada.offsets(), range(MANY - 49, MANY));
    await ada.inView(`entry ${MANY}`);
    await ada.scrollTo(0);
    await ada.rows(100);
    assert.deepEqual(await ada.offsets(), range(MANY - 99, MANY));
    await ada.scrollTo(0);
    await ada.rows(MANY);
    assert.deepEqual(await ada.offsets(), range(1, MANY));
    await ada.begins("The beginning of the conversation");
    assert.deepEqual(ada.complaints, []);
  });

  test("what one reads stays in its place when older messages come above it, and newer ones below", async () => {
    const [ada, eve] = [await tab("ada"), await tab("eve")];
    for (const one of [ada, eve]) await one.openRoom("archive");
    await ada.hears(`entry ${MANY}`);
    await ada.scrollTo(100);
    const first = `entry ${MANY - 49}`;
    const before = await ada.placeOf(first);
    await ada.rows(100);
    await ada.stays(first, before);
    await eve.say("something new");
    await eve.hears("something new");
    await ada.page.locator(".message .text", { hasText: "something new" }).waitFor({ state: "attached" });
    await ada.stays(first, before);
  });

  test("a short conversation says at once that it is whole, an empty one that nothing was said", async () => {
    const ada = await tab("ada");
    await ada.openRoom("quiet");
    await ada.page.getByText("Nothing said in #quiet yet. Be the first.").waitFor();
    await ada.say("the first");
    await ada.hears("the first");
    await ada.begins("The beginning of the conversation");
    await ada.page.getByText("Nothing said in #quiet yet.").waitFor({ state: "hidden" });
    assert.deepEqual(await ada.offsets(), [1]);
  });

  test("the conversation has no hole and no double after a server that was killed", async () => {
    const [ada, eve] = [await tab("ada"), await tab("eve")];
    for (const one of [ada, eve]) await one.openRoom("annals");
    await ada.say("a first word");
    await eve.hears("a first word");
    await stage.server.kill();
    await Promise.all([ada.state("reconnecting"), eve.state("reconnecting")]);
    for (const text of ["while away 1", "while away 2"]) await eve.say(text);
    await stage.server.restart();
    await ada.hears("while away 2");
    await ada.scrollTo(0);
    assert.deepEqual(await ada.texts(), ["a first word", "while away 1", "while away 2"]);
    assert.deepEqual(await ada.offsets(), [1, 2, 3]);
    await ada.reload();
    await ada.hears("while away 2");
    assert.deepEqual(await ada.offsets(), [1, 2, 3]);
  });
});

test("where old messages are not kept, the conversation says so", { timeout: 60_000 }, async () => {
  const stage = await Stage.open("channels.chat.history_events=20");
  try {
    await stage.server.publish("chat:archive", ...range(1, 30).map((n) => `entry ${n}`));
    const ada = await stage.tab("ada");
    await ada.openRoom("archive");
    await ada.begins("The beginning of the conversation, as far as it is kept");
    assert.deepEqual(await ada.offsets(), range(11, 30));
  } finally {
    await stage.close();
  }
});

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
