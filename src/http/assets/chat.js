/**
 * The chat page: rooms, composer and name picker over one Dormouse connection.
 *
 * Wires the client to the parts in /chat/ and to the document; keeps the rooms of this tab. Everything about sockets is the
 * client's business, everything somebody wrote goes in as text. Runs under a CSP without inline script or style.
 */

import { connect } from "/client.js";
import { MessageList } from "/chat/messages.js";
import { element, isName, paintAvatar, roomName, suggestName } from "/chat/names.js";
import { byId, field, Panel, toast } from "/chat/panel.js";
import { Roster, TYPING_EVERY_MS } from "/chat/people.js";

const DEFAULT_ROOMS = ["lobby", "garden", "night-shift"];
const HOME = "lobby";
const HISTORY = 50;
/** Somebody who writes in a tunnel wants it sent at the other end of the tunnel. */
const PUBLISH_MS = 120_000;
const PING_EVERY_MS = 10_000;

/**
 * @typedef {{name: string, channel: string, list: MessageList, roster: Roster, subscription: any, epoch: string | null,
 *   head: number, unread: number, draft: string, button: HTMLElement}} Room
 */
/** @type {Map<string, Room>} by channel */
const rooms = new Map();
/** @type {Room | null} */
let current = null;
/** @type {import("/client.js").Dormouse | null} */
let dormouse = null;
let me = "";
let lastTyping = -Infinity;
const panel = new Panel();
// Kept per tab, so that two tabs are two people, and a reloaded one is still the same.
const kept = {
  get: (name) => sessionStorage.getItem(`dormouse.${name}`),
  set: (name, value) => sessionStorage.setItem(`dormouse.${name}`, value),
  remove: (name) => sessionStorage.removeItem(`dormouse.${name}`),
};

// ── who are you ─────────────────────────────────────────────────────────────────────────────────────────────────────

function welcome(hint) {
  byId("app").hidden = true;
  byId("welcome").hidden = false;
  byId("name").value ||= suggestName();
  if (hint) byId("name-hint").textContent = hint;
  byId("name").focus();
  byId("name").select();
}

byId("another-name").addEventListener("click", () => {
  byId("name").value = suggestName();
});

byId("name-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const name = byId("name").value.trim();
  if (!isName(name)) {
    byId("name").setAttribute("aria-invalid", "true");
    byId("name-hint").textContent = "Use 1 to 32 letters, digits, dots, dashes or underscores.";
    byId("name").focus();
    return;
  }
  byId("name").removeAttribute("aria-invalid");
  kept.set("name", name);
  enter(name, byId("token").value || name);
});

byId("change-name").addEventListener("click", () => {
  dormouse?.close();
  kept.remove("name");
  location.reload();
});

// ── the connection ──────────────────────────────────────────────────────────────────────────────────────────────────

function enter(name, token) {
  byId("welcome").hidden = true;
  byId("app").hidden = false;
  introduce(name);
  const gateway = new URL("/v1/gateway", location.href);
  const status = kept.get("status") ?? "online";
  showStatus(status);
  dormouse = connect(gateway.href, { token, status });
  panel.attach(dormouse);
  dormouse.on("ready", ({ user }) => introduce(user));
  dormouse.on("subscribed", ({ channel, epoch, offset }) => {
    const room = rooms.get(channel);
    if (!room || room.epoch === epoch) return;
    room.head = room.epoch === null ? offset : 0; // all of another epoch is news
    room.epoch = epoch;
  });
  dormouse.on("roster", (told) => changePeople(told.channel, (roster) => roster.replace(told)));
  dormouse.on("presence", (told) => changePeople(told.channel, (roster) => roster.apply(told)));
  dormouse.on("signal", ({ channel, from, kind, data }) => {
    if (kind !== "typing" || from === me) return;
    rooms.get(channel)?.roster.typing(from, data?.typing !== false);
    showTyping();
  });
  dormouse.on("gap", ({ channel, from, to }) => {
    rooms.get(channel)?.list.note(from === to ? "One message is missing here" : `${to - from + 1} messages are missing here`);
  });
  dormouse.on("state", ({ state, error }) => state === "closed" && error.close_code && refused(error));
  dormouse.on("error", (error) => toast(error.message, "bad"));
  for (const channel of rooms.keys()) listen(rooms.get(channel));
  for (const room of new Set([...DEFAULT_ROOMS, ...JSON.parse(kept.get("rooms") ?? "[]")])) openRoom(room);
  showRoom(rooms.get(`chat:${roomName(decodeURIComponent(location.hash)) || HOME}`) ?? openRoom(roomName(location.hash)));
}

function introduce(name) {
  me = name;
  byId("me-name").textContent = name;
  paintAvatar(byId("me-avatar"), name);
}

/** The server will not have us back as we are. */
function refused(error) {
  if (error.close_code !== 4501 && error.close_code !== 4502) return toast(error.message, "bad");
  kept.remove("name");
  byId("token-row").hidden = false;
  welcome("The server did not accept this name. If it wants an access token, put it in here.");
}

byId("reconnect").addEventListener("click", () => {
  if (dormouse.state === "closed") location.reload();
  else dormouse.reconnectNow();
});

byId("crash").addEventListener("click", async () => {
  try {
    await dormouse.chaos("panic");
  } catch (error) {
    if (error.code === "forbidden") {
      toast("Chaos is switched off. Start the server with --set chaos.enabled=true to try this.", "bad");
    } else if (error.code !== "crashed") toast(error.message, "bad"); // `crashed` is what was asked for; `restarted` tells it
  }
});

function showStatus(status) {
  byId("status").value = status;
  byId("me-dot").dataset.status = status;
}

byId("status").addEventListener("change", ({ target }) => {
  kept.set("status", target.value);
  showStatus(target.value);
  dormouse.setStatus(target.value).catch((error) => toast(error.message, "bad"));
});

// ── rooms ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function openRoom(name) {
  const channel = `chat:${name}`;
  if (rooms.has(channel)) return rooms.get(channel);
  const item = element("li");
  const button = element("button", "room");
  button.type = "button";
  button.append(element("span", "hash", "#"), element("span", "room-name", name), element("span", "badge"));
  item.append(button);
  byId("rooms").append(item);
  const list = new MessageList({
    label: `Messages in ${name}`,
    empty: `Nothing said in #${name} yet. Be the first.`,
    onRead: () => rooms.get(channel) === current && read(current),
  });
  list.scroller.hidden = true;
  byId("lists").append(list.scroller);
  const room = { name, channel, list, roster: new Roster(), unread: 0, draft: "", button };
  rooms.set(channel, room);
  button.addEventListener("click", () => {
    showRoom(room);
    drawer("sidebar", false);
  });
  listen(room);
  return room;
}

function listen(room) {
  room.subscription = dormouse.subscribe(room.channel, { last: HISTORY, presence: true }, (event) => {
    // While the first messages of a room arrive they are its history and nothing anybody missed.
    const news = room.list.add(event, me) && event.from !== me && event.offset > room.head;
    room.roster.typing(event.from, false);
    if (room === current) showTyping();
    if (news && (room !== current || document.hidden || !room.list.atEnd)) {
      room.unread += 1;
      showUnread(room);
    }
  });
  room.head = Infinity;
  room.epoch = null;
}

function showRoom(room) {
  if (current) {
    current.draft = byId("draft").value;
    current.list.scroller.hidden = true;
    current.button.removeAttribute("aria-current");
  }
  current = room;
  room.list.scroller.hidden = false;
  room.button.setAttribute("aria-current", "page");
  room.list.toEnd();
  byId("room-title").textContent = room.name;
  byId("draft").value = room.draft;
  byId("draft").placeholder = `Message #${room.name}`;
  byId("leave-room").hidden = DEFAULT_ROOMS.includes(room.name);
  document.title = `#${room.name} · Dormouse`;
  history.replaceState(null, "", `#${room.name}`);
  fitDraft();
  read(room);
  changePeople(room.channel, () => {});
  showTyping();
  if (matchMedia("(hover: hover)").matches) byId("draft").focus();
}

function read(room) {
  room.unread = 0;
  showUnread(room);
}

function showUnread(room) {
  room.button.querySelector(".badge").textContent = room.unread ? String(Math.min(room.unread, 99)) : "";
  room.button.classList.toggle("unread", room.unread > 0);
  byId("jump").hidden = !(current?.unread > 0 && !document.hidden);
  const all = [...rooms.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = `${all ? `(${all}) ` : ""}#${current?.name ?? HOME} · Dormouse`;
}

const keepRooms = () => kept.set("rooms", JSON.stringify([...rooms.values()].map(({ name }) => name)));

byId("room-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const name = roomName(byId("room-name").value);
  byId("room-name").value = "";
  if (!name) return;
  showRoom(openRoom(name));
  keepRooms();
  drawer("sidebar", false);
});

byId("leave-room").addEventListener("click", () => {
  const room = current;
  showRoom(rooms.get(`chat:${HOME}`));
  rooms.delete(room.channel);
  room.subscription.unsubscribe().catch(() => {}); // a lost connection has ended it as well
  room.button.parentElement.remove();
  room.list.scroller.remove();
  keepRooms();
});

byId("jump").addEventListener("click", () => current.list.toEnd());
document.addEventListener("visibilitychange", () => !document.hidden && current?.list.atEnd && read(current));

// ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function changePeople(channel, change) {
  const room = rooms.get(channel);
  if (!room) return;
  change(room.roster);
  if (room !== current) return;
  room.roster.draw(byId("people"), me);
  field("count", room.roster.count);
}

function showTyping() {
  const text = current?.roster.typingText() ?? "";
  if (byId("typing").textContent !== text) byId("typing").textContent = text;
}

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function submit() {
  const text = byId("draft").value.trim();
  if (!text || !current) return;
  const room = current;
  const key = dormouse.newKey();
  const publish = () => {
    room.list.sending(key);
    dormouse.publish(room.channel, { text }, { key, timeoutMs: PUBLISH_MS }).then(
      () => room.list.sent(key),
      (error) => room.list.failed(key, error.message),
    );
  };
  room.list.send(key, me, text, publish, () => room.list.discard(key));
  publish();
  byId("draft").value = "";
  fitDraft();
  lastTyping = -Infinity;
}

/** The field grows with its text up to a limit in the style sheet; the list above gives way. */
function fitDraft() {
  const draft = byId("draft");
  draft.style.height = "auto";
  draft.style.height = `${draft.scrollHeight}px`;
  byId("composer").querySelector(".send").disabled = draft.value.trim() === "";
}

byId("composer").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  submit();
});

byId("draft").addEventListener("keydown", (pressed) => {
  if (pressed.key !== "Enter" || pressed.shiftKey || pressed.isComposing) return;
  pressed.preventDefault();
  submit();
});

byId("draft").addEventListener("input", ({ target }) => {
  fitDraft();
  const typing = target.value.trim() !== "";
  const due = performance.now() - lastTyping >= TYPING_EVERY_MS;
  if (typing ? !due : lastTyping === -Infinity) return;
  lastTyping = typing ? performance.now() : -Infinity;
  dormouse.signal(current.channel, "typing", { typing });
});

// ── drawers on narrow windows ───────────────────────────────────────────────────────────────────────────────────────

const OPENERS = { sidebar: "open-sidebar", panel: "open-panel" };

function drawer(name, open) {
  byId(name).classList.toggle("open", open);
  byId(OPENERS[name]).setAttribute("aria-expanded", String(open));
  byId("scrim").hidden = !document.querySelector(".sidebar.open, .panel.open");
  if (open) byId(name).querySelector("button").focus();
}

for (const [name, opener] of Object.entries(OPENERS)) {
  byId(opener).addEventListener("click", () => drawer(name, true));
}

// On a wide window the panel stands open beside the conversation, and its button is a label only.
const wide = matchMedia("(min-width: 1080px)");
const labelOnly = () => { byId("open-panel").disabled = wide.matches; };
wide.addEventListener("change", labelOnly);
labelOnly();

function closeDrawers() {
  for (const name of Object.keys(OPENERS)) {
    if (!byId(name).classList.contains("open")) continue;
    drawer(name, false);
    byId(OPENERS[name]).focus();
  }
}

byId("close-panel").addEventListener("click", closeDrawers);
byId("scrim").addEventListener("click", closeDrawers);
document.addEventListener("keydown", ({ key }) => key === "Escape" && closeDrawers());

// ── begin ───────────────────────────────────────────────────────────────────────────────────────────────────────────

setInterval(() => {
  panel.tick();
  showTyping();
}, 1_000);
setInterval(() => !document.hidden && panel.measure(), PING_EVERY_MS);

const known = kept.get("name");
if (known && isName(known)) enter(known, known);
else welcome();
