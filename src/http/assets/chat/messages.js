/**
 * The message list of one room: rows in the order of events, own messages shown before the server has them.
 *
 * Owns its scroller. Never interprets text as markup. Events arrive in order and once (the client sees to that), so a row is
 * placed after the last confirmed one; what is still being sent stays below, in the order it was written.
 *
 *     sending ──reply or event──▶ sent
 *        └──error──▶ failed ──retry──▶ sending
 */

import { element, paintAvatar } from "./names.js";

const GROUP_MS = 5 * 60_000;
/** Bounded: a tab that stays open for weeks must not grow for weeks. */
const MAX_ROWS = 600;
const LINK = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g;

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export class MessageList {
  /** @type {Map<string, HTMLElement>} rows of own messages without their event, by key */
  #unconfirmed = new Map();
  #rows = element("ol", "rows");
  /** Whoever reads the end goes on reading it when the window, its keyboard or the text field changes the height. */
  #following = true;
  #onRead;

  /** @param {{label: string, empty: string, onRead: () => void}} options `onRead`: the end of the list came into view */
  constructor({ label, empty, onRead }) {
    this.#onRead = onRead;
    this.scroller = element("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "log");
    this.scroller.setAttribute("aria-label", label);
    this.empty = element("p", "empty", empty);
    this.scroller.append(this.empty, this.#rows);
    this.scroller.addEventListener("scroll", () => {
      this.#following = this.atEnd;
      if (this.#following) this.#onRead();
    }, { passive: true });
    const resized = new ResizeObserver(() => this.#following && this.#showEnd());
    resized.observe(this.scroller);
    resized.observe(this.#rows);
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < 48;
  }

  toEnd() {
    this.#following = true;
    this.#showEnd();
    this.#onRead();
  }

  #showEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** An event of the channel; confirms our own row if it was waiting. @returns {boolean} whether it is new to the reader */
  add({ from, at, data, key, offset }, me) {
    const waiting = from === me ? this.#unconfirmed.get(key) : undefined;
    const row = waiting ?? this.#row(from, textOf(data), from === me);
    this.#unconfirmed.delete(key);
    row.dataset.offset = offset;
    this.#stamp(row, at);
    this.#mark(row, waiting ? "sent" : "");
    const [firstWaiting] = this.#unconfirmed.values();
    this.#change(() => {
      // Moving a row that is in place already would make a screen reader read it again.
      if (!waiting || (firstWaiting && this.#precedes(firstWaiting, row))) this.#rows.insertBefore(row, firstWaiting ?? null);
    });
    return !waiting;
  }

  /** An own message on its way. @param {() => void} retry @param {() => void} discard */
  send(key, me, text, retry, discard) {
    const row = this.#row(me, text, true);
    row.dataset.key = key;
    this.#stamp(row, Date.now());
    this.#unconfirmed.set(key, row);
    const choices = element("span", "choices");
    const again = element("button", "link", "Retry");
    const drop = element("button", "link", "Discard");
    again.type = drop.type = "button";
    again.addEventListener("click", retry);
    drop.addEventListener("click", discard);
    choices.append(element("span", "", "Not sent."), again, drop);
    row.querySelector(".body").append(choices);
    this.#mark(row, "sending");
    this.#change(() => this.#rows.append(row));
    this.toEnd();
  }

  sending(key) {
    this.#mark(this.#unconfirmed.get(key), "sending");
  }

  sent(key) {
    this.#mark(this.#unconfirmed.get(key), "sent");
  }

  /** @param {string} why shown with the choices */
  failed(key, why) {
    const row = this.#unconfirmed.get(key);
    if (!row) return; // its event came all the same
    row.querySelector(".choices span").textContent = `Not sent: ${why}`;
    this.#change(() => this.#mark(row, "failed"));
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

  #row(from, text, own) {
    const row = element("li", own ? "message own" : "message");
    row.dataset.from = from;
    const avatar = element("span");
    paintAvatar(avatar, from);
    avatar.setAttribute("aria-hidden", "true");
    const body = element("div", "body");
    const byline = element("p", "byline");
    byline.append(element("strong", "author", from), element("time"));
    const words = element("p", "text");
    words.append(...linked(text));
    body.append(byline, words);
    row.append(avatar, element("time", "gutter"), body, element("span", "delivery"));
    return row;
  }

  #stamp(row, at) {
    const moment = new Date(at);
    row.dataset.at = String(at);
    for (const time of row.querySelectorAll("time")) {
      time.dateTime = moment.toISOString();
      time.textContent = clock.format(moment);
    }
  }

  #mark(row, state) {
    if (!row) return;
    row.dataset.delivery = state;
    row.querySelector(".delivery").title = state === "sending" ? "Sending" : state === "sent" ? "Sent" : "";
  }

  #precedes(one, other) {
    return Boolean(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
  }

  /** Keeps the end in view if it was, and groups rows by author, five minutes and day. */
  #change(act) {
    act();
    while (this.#rows.childElementCount > MAX_ROWS && !this.#unconfirmed.has(this.#rows.firstElementChild.dataset.key)) {
      this.#rows.firstElementChild.remove();
    }
    this.empty.hidden = this.#rows.childElementCount > 0;
    // Only the tail can have changed its neighbours: what waits, and a few rows before it.
    let row = this.#rows.lastElementChild;
    for (let left = this.#unconfirmed.size + 3; row && left > 0; left--, row = row.previousElementSibling) this.#group(row);
    if (this.#following) this.#showEnd();
  }

  #group(row) {
    if (!row.dataset.at) return;
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

/** What to show of somebody's data: the page writes `{text}`, other publishers may write anything. */
function textOf(data) {
  if (typeof data === "string") return data;
  return typeof data?.text === "string" ? data.text : JSON.stringify(data);
}

/** Text nodes, and anchors for plain http addresses; nothing else ever becomes an element. */
function linked(text) {
  const nodes = [];
  let done = 0;
  for (const { 0: address, index } of text.matchAll(LINK)) {
    const anchor = element("a", "", address);
    anchor.href = address;
    anchor.target = "_blank";
    anchor.rel = "noopener noreferrer";
    nodes.push(text.slice(done, index), anchor);
    done = index + address.length;
  }
  nodes.push(text.slice(done));
  return nodes;
}
