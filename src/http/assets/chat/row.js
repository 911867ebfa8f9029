/**
 * One row of a message list: who, when, what, and how far an own message got.
 *
 * Nothing that somebody wrote ever becomes markup: text goes in as text, plain http addresses as anchors.
 *
 *     sending ──stored──▶ stored ──▶ delivered ──▶ read
 *        └──error──▶ failed ──retry──▶ sending
 */

import { element, paintAvatar } from "./names.js";

const LINK = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

/** What stands behind each mark, unless the caller knows more. */
const MEANING = { sending: "Sending", failed: "Not sent", stored: "Sent", delivered: "Delivered", read: "Read" };

/** @returns {HTMLLIElement} a row without time and mark */
export function messageRow(from, data, own) {
  const row = element("li", own ? "message own" : "message");
  row.dataset.from = from;
  const avatar = element("span");
  paintAvatar(avatar, from);
  avatar.setAttribute("aria-hidden", "true");
  const body = element("div", "body");
  const byline = element("p", "byline");
  byline.append(element("strong", "author", from), element("time"));
  const words = element("p", "text");
  words.append(...linked(textOf(data)));
  body.append(byline, words);
  const delivery = element("span", "delivery");
  if (own) delivery.setAttribute("role", "img");
  row.append(avatar, element("time", "gutter"), body, delivery);
  return row;
}

/** Choices below a message that was not sent. @param {() => void} retry @param {() => void} discard */
export function offerChoices(row, retry, discard) {
  const choices = element("span", "choices");
  const again = element("button", "link", "Retry");
  const drop = element("button", "link", "Discard");
  again.type = drop.type = "button";
  again.addEventListener("click", retry);
  drop.addEventListener("click", discard);
  choices.append(element("span", "", "Not sent."), again, drop);
  row.querySelector(".body").append(choices);
}

export function stamp(row, at) {
  const moment = new Date(at);
  row.dataset.at = String(at);
  for (const time of row.querySelectorAll("time")) {
    time.dateTime = moment.toISOString();
    time.textContent = clock.format(moment);
  }
}

/** @param {"sending" | "failed" | "stored" | "delivered" | "read"} state @param {string} title who has it */
export function mark(row, state, title = MEANING[state]) {
  const delivery = row.querySelector(".delivery");
  if (row.dataset.delivery === state && delivery.title === title) return;
  row.dataset.delivery = state;
  delivery.title = title;
  delivery.setAttribute("aria-label", title);
}

/** What to show of somebody's data: the page writes `{text}`, other publishers may write anything. */
function textOf(data) {
  if (typeof data === "string") return data;
  return typeof data?.text === "string" ? data.text : JSON.stringify(data);
}

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
