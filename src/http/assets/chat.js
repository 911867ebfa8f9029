/**
 * The chat page: conversations of one person over one Dormouse connection.
 *
 * Wires the client to the parts in /chat/ and to the document. Which conversations there are is the server's to keep (they are
 * memberships), and so is what is unread in them; everything about sockets is the client's business. Everything somebody wrote
 * goes in as text. Runs under a CSP without inline script or style.
 */

import { connect } from "/client.js";
import { channelOf, hashOf } from "/chat/address.js";
import { Company } from "/chat/company.js";
import { Composer } from "/chat/composer.js";
import { attachControls, keptStatus } from "/chat/controls.js";
import { Conversation } from "/chat/conversation.js";
import { closeDrawers, drawer } from "/chat/drawers.js";
import { directChannel, isAddressable, paintAvatar, roomChannel } from "/chat/names.js";
import { byId, Panel, toast } from "/chat/panel.js";
import { Sidebar } from "/chat/sidebar.js";
import { askToken, onName } from "/chat/welcome.js";

const HOME = roomChannel("lobby");
/** Rooms offered to whoever is not in them. */
const OPEN_ROOMS = ["garden", "night-shift"];
/** Somebody who writes in a tunnel wants it sent at the other end of the tunnel. */
const PUBLISH_MS = 120_000;
const PING_EVERY_MS = 10_000;
/** "5 min ago" is drawn anew so often. */
const SEEN_EVERY_MS = 15_000;

/** @type {Map<string, Conversation>} by channel */
const conversations = new Map();
/** @type {Conversation | null} */
let current = null;
/** @type {import("/client.js").Dormouse | null} */
let dormouse = null;
let me = "";
/** @type {string | null} the channel that is on its way in, asked for last */
let wanted = null;
const panel = new Panel();
const sidebar = new Sidebar({
  onOpen: (channel) => go(channel),
  onRoom: (name) => go(roomChannel(name)),
  onPerson: (user) => startDirect(user),
});
const company = new Company(sidebar, () => ({ conversations: conversations.values(), current, me }), startDirect);
const composer = new Composer({
  onSend: send,
  onTyping: (typing) => current && dormouse.signal(current.channel, "typing", { typing }),
});

// ── the connection ──────────────────────────────────────────────────────────────────────────────────────────────────

function enter(name, token) {
  introduce(name);
  forget();
  dormouse = connect(new URL("/v1/gateway", location.href).href, { token, status: keptStatus() });
  panel.attach(dormouse);
  attachControls(dormouse);
  dormouse.on("ready", ready);
  dormouse.on("membership", ({ channel, left }) => {
    if (left) return dismiss(channel);
    if (!conversations.has(channel)) appear(channel);
    showUnread();
  });
  dormouse.on("subscribed", ({ channel, epoch }) => conversations.get(channel)?.established(epoch));
  dormouse.on("event", (event) => {
    company.see(event.from, event.at);
    const conversation = conversations.get(event.channel);
    conversation?.take(event, isSeen(conversation));
    if (conversation === current) showTyping();
    look();
  });
  dormouse.on("receipt", (receipt) => conversations.get(receipt.channel)?.receipt(receipt));
  dormouse.on("roster", (told) => {
    for (const { user, last_seen } of told.users) company.see(user, last_seen ?? 0);
    changePeople(told.channel, (roster) => roster.replace(told));
  });
  dormouse.on("presence", (told) => {
    for (const user of told.left) company.see(user, Date.now());
    changePeople(told.channel, (roster) => roster.apply(told));
    if (told.joined.some(({ user }) => !conversations.get(told.channel)?.receipts.knows(user))) company.askMembers();
  });
  dormouse.on("signal", ({ channel, from, kind, data }) => {
    if (kind !== "typing" || from === me) return;
    conversations.get(channel)?.roster.typing(from, data?.typing !== false);
    showTyping();
  });
  dormouse.on("gap", ({ channel, from, to }) => {
    const text = from === to ? "One message is missing here" : `${to - from + 1} messages are missing here`;
    const conversation = conversations.get(channel);
    if (conversation?.history.isOpen) conversation.list.note(text);
  });
  dormouse.on("state", ({ state, error }) => state === "closed" && error.close_code && refused(error));
  dormouse.on("error", (error) => toast(error.message, "bad"));
}

/** What an earlier connection had, which the server ended for good. */
function forget() {
  for (const [channel, { list }] of conversations) {
    list.scroller.remove();
    sidebar.remove(channel);
  }
  conversations.clear();
  current = null;
}

/** The server says which conversations there are, also after a time without it. */
function ready({ user, memberships = [] }) {
  const first = current === null;
  introduce(user);
  const ours = new Set(memberships.map(({ channel }) => channel));
  for (const { channel, wasKept } of [...conversations.values()]) if (wasKept && !ours.has(channel)) dismiss(channel);
  for (const channel of ours) if (!conversations.has(channel)) appear(channel);
  if (first) {
    for (const name of OPEN_ROOMS) sidebar.suggest(roomChannel(name), name);
    const channel = channelOf(location.hash, me) ?? HOME;
    if (channel !== HOME) join(HOME).catch((error) => toast(error.message, "bad"));
    go(channel);
  } else {
    current?.history.open();
    company.askMembers();
  }
  look();
}

function introduce(name) {
  me = name;
  byId("me-name").textContent = name;
  paintAvatar(byId("me-avatar"), name);
}

/** The server will not have us back as we are. */
function refused(error) {
  if (error.close_code === 4501 || error.close_code === 4502) askToken();
  else toast(error.message, "bad");
}

// ── conversations ───────────────────────────────────────────────────────────────────────────────────────────────────

/** A conversation that we are in, whoever began it. */
function appear(channel) {
  const conversation = new Conversation(channel, dormouse, me, {
    onLook: (of) => of === current && look(),
    onPast: (events) => {
      for (const { from, at } of events) company.see(from, at);
      company.show();
    },
    onError: (error) => toast(error.message, "bad"),
  });
  conversations.set(channel, conversation);
  byId("lists").append(conversation.list.scroller);
  sidebar.add(conversation);
  conversation.listen();
  if (conversation.peer && channel !== wanted && current) toast(`New conversation with ${conversation.title}.`, "plain", channel);
}

/** Becomes a member, so that every browser of ours has the conversation. */
async function join(channel) {
  if (conversations.has(channel)) return;
  try {
    await dormouse.join(channel);
  } catch (error) {
    if (error.code !== "unavailable" || error.retry !== "never") throw error;
    // This server keeps nothing of such channels; one can talk there all the same, for as long as the tab is open.
    if (!conversations.has(channel)) appear(channel);
  }
}

/** Shows a conversation, and begins it if need be. */
async function go(channel) {
  wanted = channel;
  drawer("sidebar", false);
  try {
    await join(channel);
    if (wanted === channel && conversations.has(channel)) show(conversations.get(channel));
  } catch (error) {
    if (error.code !== "closed") toast(error.message, "bad");
    if (!current && channel !== HOME) go(HOME);
  }
}

function startDirect(user) {
  if (!isAddressable(user) || !isAddressable(me)) {
    const name = isAddressable(user) ? me : user;
    return toast(`“${name}” has characters that a direct message cannot be addressed with.`, "bad", "direct");
  }
  closeDrawers();
  go(directChannel(me, user));
}

function show(conversation) {
  if (current) {
    current.draft = composer.text;
    current.list.scroller.hidden = true;
  }
  current = conversation;
  const { channel, title, peer, list } = conversation;
  list.scroller.hidden = false;
  sidebar.current(channel);
  byId("room-title").textContent = peer === me ? `${title} (you)` : title;
  byId("room-sign").textContent = peer ? "@" : "#";
  byId("leave-room").hidden = channel === HOME;
  byId("leave-room").textContent = peer ? "Leave" : "Leave room";
  byId("here").hidden = peer !== null;
  byId("peer").hidden = peer === null;
  history.replaceState(null, "", hashOf(conversation));
  if (!composer.open(peer ? title : `#${title}`, conversation.draft)) list.scroller.focus({ preventScroll: true });
  list.toEnd();
  conversation.history.open();
  company.show();
  showTyping();
  showUnread();
  company.askMembers(0);
}

/** We are no member any more, or the server says so. */
function dismiss(channel) {
  const conversation = conversations.get(channel);
  if (!conversation) return;
  conversations.delete(channel);
  conversation.subscription.unsubscribe().catch(() => {}); // leaving has ended it as well
  conversation.list.scroller.remove();
  sidebar.remove(channel);
  if (conversation === current) {
    current = null;
    go(HOME);
  }
  showUnread();
}

byId("leave-room").addEventListener("click", () => {
  const { channel, membership } = current ?? {};
  if (!membership) return dismiss(channel);
  dormouse.leave(channel).catch((error) => toast(error.message, "bad"));
});

addEventListener("hashchange", () => {
  const channel = channelOf(location.hash, me);
  if (dormouse?.user && channel && channel !== current?.channel) go(channel);
});

// ── what is read ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Somebody sits before this tab, as far as a page can know. */
const isAttended = () => !document.hidden && document.hasFocus();
const isSeen = (conversation) => conversation !== undefined && conversation === current && isAttended() && current.list.atEnd;

/** Something came into view, or somebody came back to look. */
function look() {
  if (current && isAttended()) current.read();
  showUnread();
}

function showUnread() {
  let all = 0;
  for (const conversation of conversations.values()) {
    // What is being read this moment does not flash up.
    const unread = isSeen(conversation) ? 0 : conversation.unread;
    sidebar.unread(conversation.channel, unread);
    all += unread;
  }
  sidebar.total(all);
  byId("jump").hidden = !current || current.unread === 0 || current.list.atEnd;
  const name = current ? `${current.peer ? "" : "#"}${current.title} · ` : "";
  document.title = `${all > 0 ? `(${all}) ` : ""}${name}Dormouse`;
}

byId("jump").addEventListener("click", () => current.list.toEnd());
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);

// ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function changePeople(channel, change) {
  const conversation = conversations.get(channel);
  if (!conversation) return;
  change(conversation.roster);
  company.show();
}

function showTyping() {
  const text = current?.roster.typingText() ?? "";
  if (byId("typing").textContent !== text) byId("typing").textContent = text;
}

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @returns {boolean} whether there is a conversation to send it to */
function send(text) {
  if (!current) return false;
  const { list, channel } = current;
  const key = dormouse.newKey();
  const publish = () => {
    list.sending(key);
    dormouse.publish(channel, { text }, { key, timeoutMs: PUBLISH_MS }).then(
      () => list.sent(key),
      (error) => list.failed(key, error.message),
    );
  };
  list.send(key, me, text, publish, () => list.discard(key));
  publish();
  return true;
}

// ── begin ───────────────────────────────────────────────────────────────────────────────────────────────────────────

setInterval(() => {
  panel.tick();
  showTyping();
}, 1_000);
setInterval(() => !document.hidden && panel.measure(), PING_EVERY_MS);
setInterval(() => company.show(), SEEN_EVERY_MS);
onName(enter);
