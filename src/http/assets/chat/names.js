/**
 * Names and faces: suggestions for newcomers, what a name may consist of, initials and colour of an avatar.
 *
 * Pure functions. Used by every other part of the chat page.
 */

const FIRST = ["sleepy", "amber", "quiet", "mossy", "hazel", "nimble", "dusky", "clover", "velvet", "brisk", "misty", "sunny",
  "wily", "gentle", "copper", "lunar"];
const SECOND = ["acorn", "badger", "bramble", "finch", "hedgehog", "heron", "marten", "moth", "otter", "owl", "pine", "robin",
  "squirrel", "thistle", "vole", "wren"];
const HUES = 10;

const pick = (words) => words[Math.floor(Math.random() * words.length)];

/** @returns {string} like `mossy-otter` */
export const suggestName = () => `${pick(FIRST)}-${pick(SECOND)}`;

/** Names stand in channel names (`dm:ada+eve`), so they keep to letters that have no meaning there. */
export const isName = (name) => /^[A-Za-z0-9_.-]{1,32}$/.test(name);

/** Where a room's channel lives, and a conversation of two. */
const ROOM = "chat:";
const DIRECT = "dm:";

/** Whether a user's name can stand in the channel of a conversation of two; servers may know other names. */
export const isAddressable = (name) => /^[A-Za-z0-9_.:@-]{1,120}$/.test(name);

/** @returns {string} the same whoever of the two asks */
export const directChannel = (one, other) => `${DIRECT}${[one, other].sort().join("+")}`;
export const roomChannel = (room) => ROOM + room;

/** The other one of `dm:ada+eve`, for `ada`; null where a channel is not for two. */
export function peerOf(channel, me) {
  const users = channel.startsWith(DIRECT) ? channel.slice(DIRECT.length).split("+") : [];
  if (users.length !== 2) return null;
  return users[0] === me ? users[1] : users[0];
}

/** What a conversation is called: the other one's name, a room's, or the whole channel. */
export const titleOf = (channel, me) => peerOf(channel, me) ?? (channel.startsWith(ROOM) ? channel.slice(ROOM.length) : channel);

/** `Night Shift!` → `night-shift`: what may follow `chat:` in a channel name. */
export const roomName = (text) => text.trim().toLowerCase().replace(/^#|^chat:/, "").replace(/[^a-z0-9_.-]+/g, "-").replace(/^-+|-+$/g, "");

export function initials(name) {
  const parts = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = parts.length > 1 ? parts[0][0] + parts[1][0] : (parts[0] ?? name).slice(0, 2);
  return letters.toUpperCase();
}

/** Turns an element into the avatar of `name`: the same colour everywhere, by a class because styles inline are barred. */
export function paintAvatar(element, name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 65_521;
  element.className = `avatar hue-${hash % HUES}`;
  element.textContent = initials(name);
}

/** @returns {HTMLElement} `<tag class>` with text; text is never markup */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
