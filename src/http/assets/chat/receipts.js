/**
 * How far the others in a conversation got, and what that makes of a message of ours.
 *
 * Cursors come from the list of members and from receipts, and never move back. As in other messengers a message is delivered,
 * or read, when every other member has it; the words say who. Pure state.
 */

const MOST_NAMES = 8;

export class Receipts {
  /** @type {Map<string, {delivered: number, read: number}>} by user, without ourselves */
  #others = new Map();
  #me;
  #peer;

  /** @param {string} me @param {string | null} peer the only other one in a conversation of two */
  constructor(me, peer) {
    this.#me = me;
    this.#peer = peer;
    this.replace([]);
  }

  /** The members as the server lists them: who is not among them does not count any more. */
  replace(members) {
    const before = this.#others;
    this.#others = new Map();
    // He counts before he is a member: the first message makes him one.
    if (this.#peer && this.#peer !== this.#me) this.#others.set(this.#peer, { delivered: 0, read: 0, ...before.get(this.#peer) });
    for (const member of members) {
      this.note(member);
      const known = before.get(member.user);
      if (known) this.note({ ...known, user: member.user });
    }
  }

  /** @returns {boolean} whether that changes anything */
  note({ user, delivered, read }) {
    if (user === this.#me || (this.#peer && user !== this.#peer)) return false;
    const known = this.#others.get(user);
    if (known && known.delivered >= delivered && known.read >= read) return false;
    this.#others.set(user, {
      delivered: Math.max(delivered, known?.delivered ?? 0),
      read: Math.max(read, known?.read ?? 0),
    });
    return true;
  }

  /** Whether we know of this user's cursors. */
  knows(user) {
    return user === this.#me || this.#others.has(user);
  }

  /** @returns {{state: "stored" | "delivered" | "read", title: string}} of the own message at `offset` */
  standing(offset) {
    const [read, delivered, waiting] = [[], [], []];
    for (const [user, cursors] of this.#others) {
      (cursors.read >= offset ? read : cursors.delivered >= offset ? delivered : waiting).push(user);
    }
    const some = this.#others.size > 0 && waiting.length === 0;
    const state = !some ? "stored" : delivered.length > 0 ? "delivered" : "read";
    const parts = [];
    if (read.length > 0) parts.push(`Read by ${names(read)}`);
    if (delivered.length > 0) parts.push(`Delivered to ${names(delivered)}`);
    if (waiting.length > 0) parts.push(`${parts.length > 0 ? "Not yet delivered" : "Sent, not yet delivered"} to ${names(waiting)}`);
    return { state, title: parts.join(". ") || "Sent" };
  }
}

function names(users) {
  const shown = users.slice(0, MOST_NAMES).sort();
  const more = users.length - shown.length;
  if (more > 0) return `${shown.join(", ")} and ${more} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : shown[0];
}
