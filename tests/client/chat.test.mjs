// The parts of the chat page that need no document: who has a message, when somebody was seen, what an address means.

import assert from "node:assert/strict";
import { test } from "node:test";
import { channelOf, hashOf } from "../../src/http/assets/chat/address.js";
import { directChannel, isAddressable, peerOf, titleOf } from "../../src/http/assets/chat/names.js";
import { Receipts } from "../../src/http/assets/chat/receipts.js";
import { ago, Sightings } from "../../src/http/assets/chat/sightings.js";

const at = (user, delivered, read) => ({ user, delivered, read });

test("a message in a room is delivered, or read, when all others have it, and the words say who", () => {
  const table = [
    [[], "stored", "Sent"],
    [[at("ada", 9, 9)], "stored", "Sent"],
    [[at("eve", 4, 4)], "stored", "Sent, not yet delivered to eve"],
    [[at("eve", 5, 4)], "delivered", "Delivered to eve"],
    [[at("eve", 5, 5)], "read", "Read by eve"],
    [[at("eve", 5, 5), at("max", 4, 0)], "stored", "Read by eve. Not yet delivered to max"],
    [[at("eve", 5, 5), at("max", 5, 0), at("zoe", 7, 1)], "delivered", "Read by eve. Delivered to max and zoe"],
    [[at("max", 6, 6), at("eve", 5, 5), at("zoe", 7, 7)], "read", "Read by eve, max and zoe"],
  ];
  for (const [members, state, title] of table) {
    const receipts = new Receipts("ada", null);
    receipts.replace(members);
    assert.deepEqual(receipts.standing(5), { state, title });
  }
});

test("of many only some are named", () => {
  const receipts = new Receipts("ada", null);
  receipts.replace(Array.from({ length: 12 }, (_, n) => at(`user${n + 10}`, 5, 5)));
  assert.match(receipts.standing(5).title, /^Read by user10, .*user17 and 4 more$/);
});

test("of two the other one counts before he is a member, and nobody else ever", () => {
  const receipts = new Receipts("ada", "eve");
  assert.equal(receipts.standing(1).title, "Sent, not yet delivered to eve");
  assert.equal(receipts.note(at("max", 9, 9)), false);
  assert.equal(receipts.note(at("eve", 1, 0)), true);
  assert.equal(receipts.standing(1).state, "delivered");
  assert.deepEqual(new Receipts("ada", "ada").standing(1), { state: "stored", title: "Sent" });
});

test("cursors never move back, whichever of list and receipt comes last", () => {
  const receipts = new Receipts("ada", null);
  assert.equal(receipts.note(at("eve", 5, 5)), true);
  assert.equal(receipts.note(at("eve", 4, 3)), false);
  receipts.replace([at("eve", 4, 3)]);
  assert.equal(receipts.standing(5).state, "read");
  receipts.replace([]);
  assert.equal(receipts.standing(5).title, "Sent", "who has left does not count");
});

test("when somebody was seen is told in words, and clocks that differ make no future", () => {
  const now = new Date(2030, 5, 15, 12).getTime();
  const [minute, hour] = [60_000, 3_600_000];
  const table = [
    [-minute, "just now"], [59_999, "just now"], [minute, "1 min ago"], [hour - 1, "59 min ago"], [hour, "1 h ago"],
    [23 * hour, "23 h ago"], [24 * hour, "yesterday"], [48 * hour, "2 days ago"], [167 * hour, "6 days ago"],
  ];
  for (const [since, words] of table) assert.equal(ago(now - since, now), words);
  assert.match(ago(now - 30 * 24 * hour, now), /^on .*16/);
  assert.match(ago(now - 400 * 24 * hour, now), /^on .*2029/);
  const sightings = new Sightings();
  assert.equal(sightings.text("eve", now), "offline");
  sightings.see("eve", now - hour);
  sightings.see("eve", now - 2 * hour);
  assert.equal(sightings.text("eve", now), "last seen 1 h ago");
});

test("channels, titles and addresses of conversations", () => {
  assert.equal(directChannel("eve", "ada"), "dm:ada+eve");
  assert.equal(directChannel("ada", "Zoe"), "dm:Zoe+ada", "in the order of bytes, as the server has it");
  assert.deepEqual(["ada", "eve", "max"].map((me) => peerOf("dm:ada+eve", me)), ["eve", "ada", "ada"]);
  assert.deepEqual([peerOf("chat:ada+eve", "ada"), peerOf("dm:a+b+c", "a"), peerOf("dm:ada+ada", "ada")], [null, null, "ada"]);
  assert.deepEqual(["chat:lobby", "dm:ada+eve", "news:x"].map((channel) => titleOf(channel, "ada")), ["lobby", "eve", "news:x"]);
  assert.deepEqual(["eve", "a b", "a+b", "", "x".repeat(121)].map(isAddressable), [true, false, false, false, false]);
  const table = [["#garden", "chat:garden"], ["#Night%20Shift", "chat:night-shift"], ["#@eve", "dm:ada+eve"], ["#@a+b", null], ["#news:x", "news:x"], ["#chat:lobby", "chat:lobby"], ["#%", null], ["", null]];
  for (const [hash, channel] of table) assert.equal(channelOf(hash, "ada"), channel, hash);
  for (const channel of ["dm:ada+eve", "chat:garden", "chat:Lobby", "chat:a:b", "news:x"]) {
    const [title, peer] = [titleOf(channel, "ada"), peerOf(channel, "ada")];
    assert.equal(channelOf(hashOf({ channel, title, peer }), "ada"), channel, "an address leads back to where it was taken");
  }
});
