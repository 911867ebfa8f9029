/**
 * What stands behind the `#` of the page's address: `#garden` is a room, `#@eve` a conversation with eve, `#news:x` a channel.
 *
 * Pure functions. Whatever else stands there asks for nothing.
 */

import { directChannel, isAddressable, roomChannel, roomName } from "./names.js";

/** A name with its namespace. */
const CHANNEL = /^[A-Za-z0-9_.+@-]+:[A-Za-z0-9_.:+@-]{1,200}$/;

/** @param {{channel: string, title: string, peer: string | null}} conversation @returns {string} */
export function hashOf({ channel, title, peer }) {
  if (peer) return `#@${encodeURIComponent(title)}`;
  // A room that could be taken for something else is called by its whole name.
  const isRoom = roomName(title) === title && !title.includes(":");
  return `#${encodeURIComponent(isRoom ? title : channel)}`;
}

/** @param {string} hash @param {string} me @returns {string | null} a channel */
export function channelOf(hash, me) {
  let text = "";
  try {
    text = decodeURIComponent(hash.slice(1));
  } catch {
    return null;
  }
  if (text.startsWith("@")) return isAddressable(text.slice(1)) ? directChannel(me, text.slice(1)) : null;
  if (CHANNEL.test(text)) return text;
  const name = roomName(text);
  return name ? roomChannel(name) : null;
}
