/**
 * The message list of one conversation: rows in the order of events, own messages shown before the server has them.
 *
 * Owns its scroller, and keeps what the reader looks at in its place whatever comes above or below it. Newer events arrive in
 * order and once (the client sees to that) and are placed after the last confirmed row; older ones come in pages before the
 * first. What is still being sent stays below, in the order it was written.
 */

import { element } from "./names.js";
import { mark, messageRow, offerChoices, stamp } from "./row.js";

const GROUP_MS = 5 * 60_000;
/** Bounded: a tab that stays open for weeks must not grow for weeks. Whoever looks back keeps more. */
const MAX_ROWS = 600;
const MAX_ROWS_LOOKING_BACK = 6_000;
/** This near to the first row the page before it is wanted. */
const NEAR_TOP_PX = 160;

/** This near to the last row one reads the end. */
const NEAR_END_PX = 48;

const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/**
 * @typedef {object} Options
 * @property {string} label @property {string} empty said when there are no messages
 * @property {() => void} onLook something else came into view
 * @property {() => void} onTop the first row is near
 * @property {() => void} onForget the first rows were dropped, so there is something before the first again
 * @property {(offset: number) => {state: string, title: string}} standing how far an own message got
 */

export class MessageList {
  /** @type {Map<string, HTMLElement>} rows of own messages without their event, by key */
  #unconfirmed = new Map();
  #top = element("p", "top");
  #empty;
  #rows = element("ol", "rows");
  /** Whoever reads the end goes on reading it when the window, its keyboard or the text field changes the height. */
  #following = true;
  /** Where the list stood when it last showed its end. */
  #shownAt = 0;
  #complete = false;
  #options;
  /** Offset of the newest row, 0 when there is none. */
  newest = 0;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.scroller = element("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "log");
    this.scroller.setAttribute("aria-label", options.label);
    this.#empty = element("p", "empty", options.empty);
    this.#empty.hidden = true;
    this.#top.hidden = true;
    const sheet = element("div", "sheet");
    sheet.append(this.#top, this.#rows);
    this.scroller.append(this.#empty, sheet);
    this.scroller.addEventListener("scroll", () => {
      this.#following = this.atEnd;
      if (this.#following) this.#shownAt = this.scroller.scrollTop;
      options.onLook();
      if (this.nearTop) options.onTop();
    }, { passive: true });
    const resized = new ResizeObserver(() => this.#follows() && this.#showEnd());
    resized.observe(this.scroller);
    resized.observe(sheet);
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  get nearTop() {
    return this.scroller.clientHeight > 0 && this.scroller.scrollTop < NEAR_TOP_PX;
  }

  /** Offset of the oldest row, 0 when there is none. */
  get oldest() {
    return Number(this.#rows.querySelector("[data-offset]")?.dataset.offset ?? 0);
  }

  /** The newest offset that is in view, or above what is. */
  get seen() {
    if (this.atEnd) return this.newest;
    const { bottom } = this.scroller.getBoundingClientRect();
    for (let row = this.#rows.lastElementChild; row; row = row.previousElementSibling) {
      // A first line is enough of a long message.
      if (row.dataset.offset && row.getBoundingClientRect().top + 24 <= bottom) return Number(row.dataset.offset);
    }
    return 0;
  }

  toEnd() {
    this.#following = true;
    this.#showEnd();
    this.#options.onLook();
  }

  #showEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#shownAt = this.scroller.scrollTop;
  }

  /** Whoever has scrolled up in this frame is told of with the next one, and must not be pulled back before. */
  #follows() {
    if (this.scroller.scrollTop < this.#shownAt - NEAR_END_PX && !this.atEnd) this.#following = false;
    return this.#following;
  }

  /** An event newer than all before; confirms our own row if it was waiting. @returns {boolean} whether it is new here */
  add(event, me) {
    if (event.offset <= this.newest) return false;
    this.newest = event.offset;
    const known = event.from === me && this.#unconfirmed.has(event.key);
    this.#change(() => {
      const row = this.#confirmed(event, me);
      const [firstWaiting] = this.#unconfirmed.values();
      // A row that is in place already would make a screen reader read it again.
      if (!known || (firstWaiting && precedes(firstWaiting, row))) this.#rows.insertBefore(row, firstWaiting ?? null);
    });
    return !known;
  }

  /** A page of events older than all here, rising. @param {boolean} complete nothing comes before it */
  prepend(events, me, complete) {
    this.newest = Math.max(this.newest, events.at(-1)?.offset ?? 0);
    this.#complete = complete;
    this.#top.dataset.text = "";
    const log = this.scroller;
    log.setAttribute("aria-busy", "true"); // what is old is not read out
    this.#change(() => {
      const rows = events.map((event) => this.#confirmed(event, me));
      const next = this.#rows.firstElementChild;
      this.#rows.prepend(...rows);
      for (const row of rows) this.#group(row);
      if (next) this.#group(next);
    });
    requestAnimationFrame(() => log.removeAttribute("aria-busy"));
  }

  /** What is said above the first row while there is more before it, such as that it is on its way. */
  say(text) {
    this.#change(() => { this.#top.dataset.text = text; });
  }

  /** The offsets of another life of the channel mean nothing here. */
  clear() {
    this.newest = 0;
    this.#complete = false;
    this.#change(() => this.#rows.replaceChildren(...this.#unconfirmed.values()));
  }

  /** An own message on its way. @param {() => void} retry @param {() => void} discard */
  send(key, me, text, retry, discard) {
    const row = messageRow(me, text, true);
    row.dataset.key = key;
    stamp(row, Date.now());
    this.#unconfirmed.set(key, row);
    offerChoices(row, retry, discard);
    mark(row, "sending");
    this.#change(() => this.#rows.append(row));
    this.toEnd();
  }

  sending(key) {
    const row = this.#unconfirmed.get(key);
    if (row) mark(row, "sending");
  }

  /** The server has it; its event comes, or has come. */
  sent(key) {
    const row = this.#unconfirmed.get(key);
    if (row) mark(row, "stored");
  }

  /** @param {string} why shown with the choices */
  failed(key, why) {
    const row = this.#unconfirmed.get(key);
    if (!row) return; // its event came all the same
    row.querySelector(".choices span").textContent = `Not sent: ${why}`;
    this.#change(() => mark(row, "failed"));
  }

  discard(key) {
    this.#unconfirmed.get(key)?.remove();
    this.#unconfirmed.delete(key);
    this.#change(() => {});
  }

  /** A line between messages, such as a gap. */
  note(text) {
    const [firstWaiting] = this.#unconfirmed.values();
    this.#change(() => this.#rows.insertBefore(element("li", "note", text), firstWaiting ?? null));
  }

  /** Somebody's cursor has moved: marks all own messages anew. */
  remark() {
    for (const row of this.#rows.querySelectorAll(".own[data-offset]")) this.#judge(row);
  }

  #confirmed(event, me) {
    const { from, at, data, key, offset } = event;
    const waiting = from === me ? this.#unconfirmed.get(key) : undefined;
    const row = waiting ?? messageRow(from, data, from === me);
    this.#unconfirmed.delete(key);
    row.dataset.offset = offset;
    stamp(row, at);
    if (from === me) this.#judge(row);
    return row;
  }

  #judge(row) {
    const { state, title } = this.#options.standing(Number(row.dataset.offset));
    mark(row, state, title);
  }

  /**
   * Changes the rows; the end stays in view if it was, else the first row in view stays where it was. By its lower edge: the
   * day and the author above its text may go when another row comes before it.
   */
  #change(act) {
    const anchor = this.#follows() ? null : this.#firstInView();
    const before = anchor?.getBoundingClientRect().bottom;
    act();
    this.#forget();
    const any = this.#rows.childElementCount > 0;
    this.#empty.hidden = any || !this.#complete;
    this.#showTop(any);
    // Only the tail can have changed its neighbours: what waits, and a few rows before it.
    let row = this.#rows.lastElementChild;
    for (let left = this.#unconfirmed.size + 3; row && left > 0; left--, row = row.previousElementSibling) this.#group(row);
    if (this.#following) this.#showEnd();
    else if (anchor?.isConnected) this.scroller.scrollTop += anchor.getBoundingClientRect().bottom - before;
  }

  #firstInView() {
    const { top } = this.scroller.getBoundingClientRect();
    for (const row of this.#rows.children) if (row.getBoundingClientRect().bottom > top) return row;
    return null;
  }

  #forget() {
    const most = this.#following ? MAX_ROWS : MAX_ROWS_LOOKING_BACK;
    let dropped = false;
    while (this.#rows.childElementCount > most && !this.#unconfirmed.has(this.#rows.firstElementChild.dataset.key)) {
      this.#rows.firstElementChild.remove();
      dropped = true;
    }
    if (!dropped) return;
    this.#complete = false;
    this.#group(this.#rows.firstElementChild);
    this.#options.onForget();
  }

  #showTop(any) {
    const whole = this.oldest <= 1 ? "" : ", as far as it is kept";
    const text = this.#complete ? `The beginning of the conversation${whole}` : this.#top.dataset.text ?? "";
    // Without rows only what went wrong is worth saying.
    this.#top.hidden = text === "" || (!any && this.#complete);
    if (this.#top.textContent !== text) this.#top.textContent = text;
  }

  /** Groups a row with the one before it by author, five minutes and day. */
  #group(row) {
    if (!row?.dataset.at) return;
    const before = row.previousElementSibling;
    const [at, previous] = [Number(row.dataset.at), Number(before?.dataset.at ?? 0)];
    const today = day.format(at);
    const sameDay = before !== null && (!before.dataset.at || day.format(previous) === today);
    if (sameDay) delete row.dataset.day;
    else row.dataset.day = today;
    const continued = sameDay && before.dataset.from === row.dataset.from && Math.abs(at - previous) < GROUP_MS;
    row.classList.toggle("continued", continued);
  }
}

const precedes = (one, other) => Boolean(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
