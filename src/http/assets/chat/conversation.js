/**
 * One conversation: a room, or two people. Its messages, its past, who is there, how far everybody got, and its draft.
 *
 * The server keeps which conversations there are and what is unread in them; this keeps what a tab shows of one.
 */

import { History } from "./history.js";
import { MessageList } from "./messages.js";
import { peerOf, titleOf } from "./names.js";
import { Roster } from "./people.js";
import { Receipts } from "./receipts.js";

const REMARK_MS = 60;

export class Conversation {
  roster = new Roster();
  draft = "";
  /** @type {string[]} members by name, ourselves included */ members = [];
  /** Unread messages where the server keeps no cursors for us. */ unkept = 0;
  /** @type {string | null} life of the channel's numbering, as last told */ epoch = null;
  /** The server has kept it for us: once it does not any more, we are out. */ wasKept = false;
  /** The server is being told how far we got. */ #telling = false;
  /** Marks are about to be drawn anew. */ #remark = null;
  #dormouse;
  #me;
  #onLook;

  /**
   * @param {string} channel @param {import("/client.js").Dormouse} dormouse @param {string} me
   * @param {{onLook: (conversation: Conversation) => void, onPast: (events: any[]) => void, onError: (error: Error) => void}} page
   */
  constructor(channel, dormouse, me, { onLook, onPast, onError }) {
    this.channel = channel;
    this.#dormouse = dormouse;
    this.#me = me;
    this.#onLook = () => onLook(this);
    this.peer = peerOf(channel, me);
    this.title = titleOf(channel, me);
    this.receipts = new Receipts(me, this.peer);
    this.list = new MessageList({
      label: this.peer ? `Messages with ${this.title}` : `Messages in ${this.title}`,
      empty: this.peer ? `Nothing said yet. Only you and ${this.title} can read here.` : `Nothing said in #${this.title} yet. Be the first.`,
      onLook: this.#onLook,
      onTop: () => this.history.older(),
      onForget: () => this.history.forgotten(),
      standing: (offset) => this.receipts.standing(offset),
    });
    this.list.scroller.hidden = true;
    // A page that was asked for in a tunnel comes at the other end of it.
    const fetch = async (range) => {
      const past = await dormouse.history(channel, range, { timeoutMs: Infinity });
      onPast(past.events);
      return past;
    };
    this.history = new History(this.list, me, fetch, onError);
  }

  get membership() {
    return this.#dormouse.memberships.get(this.channel);
  }

  get unread() {
    return this.membership?.unread ?? this.unkept;
  }

  /** Events from where the server has us, and who is here. */
  listen() {
    const { epoch, delivered } = this.membership ?? {};
    this.wasKept = epoch !== undefined;
    const from = epoch === undefined ? undefined : { epoch, offset: delivered };
    this.subscription = this.#dormouse.subscribe(this.channel, { from, presence: true });
  }

  /** The channel's numbering as the server tells it; another one than before makes all that is here void. */
  established(epoch) {
    const renewed = this.epoch !== null && this.epoch !== epoch;
    this.epoch = epoch;
    if (!renewed) return;
    this.receipts = new Receipts(this.#me, this.peer);
    const { isWanted } = this.history;
    this.history.reset();
    if (isWanted) this.history.open();
  }

  /** An event; `seen` when its reader looks at the end of the list right now. */
  take(event, seen) {
    this.history.take(event);
    this.roster.typing(event.from, false);
    if (!this.membership && event.from !== this.#me && !seen) this.unkept += 1;
  }

  /** Tells the server how far our reader got; what he reads meanwhile is told together, afterwards. */
  async read() {
    const { seen } = this.list;
    if (!this.membership) {
      if (this.list.atEnd) this.unkept = 0;
      return;
    }
    if (this.#telling || seen <= this.membership.read) return;
    this.#telling = true;
    const told = await this.#dormouse.ack(this.channel, { read: seen }, { timeoutMs: Infinity }).then(() => true, () => false);
    this.#telling = false;
    if (told && this.list.newest > seen) this.#onLook();
  }

  /** Asks who belongs here. @returns {Promise<{user: string, last_seen?: number}[]>} nobody where that is not kept */
  async askMembers() {
    const { members } = await this.#dormouse.members(this.channel).catch(() => ({ members: null }));
    if (!members) return [];
    this.members = members.map(({ user }) => user);
    this.receipts.replace(members);
    this.list.remark();
    return members;
  }

  /** A cursor of somebody has moved. In a crowd many do at once, and they are drawn together. */
  receipt(receipt) {
    if (!this.receipts.note(receipt) || this.#remark !== null) return;
    this.#remark = setTimeout(() => {
      this.#remark = null;
      this.list.remark();
    }, REMARK_MS);
  }
}
