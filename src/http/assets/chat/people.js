/**
 * Who is in a conversation and who is typing there, and the list that shows them.
 *
 * A roster keeps one channel's people from snapshots and changes, and one deadline per typing person. The server counts users,
 * so the count shown is the server's even where it names only the first hundred.
 */

import { element, paintAvatar } from "./names.js";

const ORDER = ["online", "idle", "busy", "invisible", "away"];
/** A typing signal is repeated every 2.5 s while somebody types; after 5 s without one he has stopped. */
export const TYPING_EVERY_MS = 2_500;
const TYPING_MS = 5_000;
/** Members who are not here, at most. */
const MOST_AWAY = 100;

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

  /** @returns {string | undefined} nothing when he is not here */
  status(user) {
    return this.#people.get(user);
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

  /** Those who are here, and those of `members` who are not. @param {Set<string>} members @returns {{user: string, status: string}[]} `me` first */
  listed(members, me) {
    const here = [...this.#people].map(([user, status]) => ({ user, status }));
    const away = [...members].filter((user) => user !== me && !this.#people.has(user)).slice(0, MOST_AWAY);
    const rank = ({ user, status }) => `${user === me ? 0 : 1}${ORDER.indexOf(status)}${user.toLowerCase()}`;
    return [...here, ...away.map((user) => ({ user, status: "away" }))].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }

  /** How many are here whom the server has not named. */
  get unnamed() {
    return Math.max(0, this.count - this.#people.size);
  }
}

/** Rows are kept as long as their people are listed, so that a keyboard's place is not lost when somebody comes or goes. */
export class PeopleList {
  #list;
  #more = element("li", "more");
  /** @type {Map<string, HTMLElement>} */ #rows = new Map();
  #onChosen;

  /** @param {HTMLElement} list @param {(user: string) => void} onChosen somebody else than ourselves was clicked */
  constructor(list, onChosen) {
    this.#list = list;
    this.#onChosen = onChosen;
  }

  /** @param {{user: string, status: string}[]} people @param {(user: string) => string} seen words for who is away */
  draw(people, unnamed, me, seen) {
    const rows = people.map(({ user, status }) => {
      const row = this.#rows.get(user) ?? this.#row(user, user === me);
      row.querySelector(".dot").dataset.status = status;
      const words = status === "away" ? seen(user) : status;
      write(row.querySelector(".person-status"), words);
      row.classList.toggle("here", status !== "away");
      row.querySelector("button")?.setAttribute("aria-label", `Message ${user}, ${words}`);
      return row;
    });
    this.#rows = new Map(people.map(({ user }, at) => [user, rows[at]]));
    write(this.#more, unnamed > 0 ? `and ${unnamed} more` : "");
    if (unnamed > 0) rows.push(this.#more);
    for (const row of [...this.#list.children]) if (!rows.includes(row)) row.remove();
    rows.forEach((row, at) => {
      if (this.#list.children[at] !== row) this.#list.insertBefore(row, this.#list.children[at] ?? null);
    });
  }

  #row(user, own) {
    const row = element("li", "person");
    const inside = element(own ? "div" : "button", "person-row");
    const face = element("span", "face");
    const avatar = element("span");
    paintAvatar(avatar, user);
    face.append(avatar, element("span", "dot"));
    face.setAttribute("aria-hidden", "true");
    const name = element("span", "person-name", user);
    if (own) name.append(element("span", "you", "you"));
    inside.append(face, name, element("span", "person-status"));
    if (!own) {
      inside.type = "button";
      inside.addEventListener("click", () => this.#onChosen(user));
    }
    row.append(inside);
    return row;
  }
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
