/**
 * Who is in a room and who is typing there.
 *
 * Keeps one roster per channel from snapshots and changes, and one deadline per typing person. The server counts users, so
 * the count shown is the server's even where it names only the first hundred.
 */

import { element, paintAvatar } from "./names.js";

const ORDER = ["online", "idle", "busy", "invisible"];
/** A typing signal is repeated every 2.5 s while somebody types; after 5 s without one he has stopped. */
export const TYPING_EVERY_MS = 2_500;
const TYPING_MS = 5_000;

export class Roster {
  /** @type {Map<string, string>} user → status */
  #people = new Map();
  /** @type {Map<string, number>} user → until when */
  #typing = new Map();
  count = 0;

  replace({ users, count }) {
    this.#people = new Map(users.map(({ user, status }) => [user, status]));
    this.count = count;
  }

  apply({ joined = [], left = [], changed = [], count }) {
    for (const { user, status } of [...joined, ...changed]) this.#people.set(user, status);
    for (const user of left) {
      this.#people.delete(user);
      this.#typing.delete(user);
    }
    this.count = count;
  }

  typing(user, on) {
    if (on) this.#typing.set(user, performance.now() + TYPING_MS);
    else this.#typing.delete(user);
  }

  /** @returns {string} a sentence, or nothing when nobody types */
  typingText() {
    for (const [user, until] of this.#typing) if (until < performance.now()) this.#typing.delete(user);
    const [first, second, ...more] = this.#typing.keys();
    if (!first) return "";
    if (!second) return `${first} is typing…`;
    return more.length > 0 ? "Several people are typing…" : `${first} and ${second} are typing…`;
  }

  /** Draws the list; `me` stands first. @param {HTMLElement} list */
  draw(list, me) {
    const rank = ([user, status]) => `${user === me ? 0 : 1}${ORDER.indexOf(status)}${user.toLowerCase()}`;
    const sorted = [...this.#people].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    const rows = sorted.map(([user, status]) => {
      const row = element("li", "person");
      const face = element("span", "face");
      const avatar = element("span");
      paintAvatar(avatar, user);
      const dot = element("span", "dot");
      dot.dataset.status = status;
      face.append(avatar, dot);
      face.setAttribute("aria-hidden", "true");
      const name = element("span", "person-name", user);
      row.append(face, name);
      if (user === me) name.append(element("span", "you", "you"));
      if (status !== "online") row.append(element("span", "person-status", status));
      else row.append(element("span", "sr", "online"));
      return row;
    });
    if (this.count > rows.length) rows.push(element("li", "more", `and ${this.count - rows.length} more`));
    list.replaceChildren(...rows);
  }
}
