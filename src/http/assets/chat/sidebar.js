/**
 * The list of conversations: rooms, direct messages, what is unread in them, and the fields that open another one.
 *
 * Draws what it is told and says what was asked for; knows no connection. Buttons keep their place by name.
 */

import { byId } from "./panel.js";
import { element, isName, roomName } from "./names.js";

export class Sidebar {
  /** @type {Map<string, {item: HTMLElement, button: HTMLElement, title: string, peer: string | null, unread: number}>} */
  #entries = new Map();
  /** @type {Map<string, HTMLElement>} rooms that we are not in */ #suggested = new Map();
  #onOpen;
  #onRoom;

  /** @param {{onOpen: (channel: string) => void, onRoom: (name: string) => void, onPerson: (user: string) => void}} asked */
  constructor({ onOpen, onRoom, onPerson }) {
    this.#onOpen = onOpen;
    this.#onRoom = onRoom;
    form("room", (text) => {
      const name = roomName(text);
      if (!name) return "A room's name needs at least one letter or digit.";
      onRoom(name);
      return "";
    });
    form("person", (text) => {
      const name = text.trim().replace(/^@/, "");
      if (!name) return "Type the name of the person you want to write to.";
      if (!isName(name)) return "Names have 1 to 32 letters, digits, dots, dashes or underscores.";
      onPerson(name);
      return "";
    });
  }

  /** @param {{channel: string, title: string, peer: string | null}} conversation */
  add({ channel, title, peer }) {
    this.#suggested.get(channel)?.remove();
    const button = this.#button(peer, title, "room");
    const entry = { item: button.parentElement, button, title, peer, unread: 0 };
    this.#entries.set(channel, entry);
    button.addEventListener("click", () => this.#onOpen(channel));
    this.#place(entry);
    this.unread(channel, 0);
    this.#sayIfNoDirect();
  }

  remove(channel) {
    this.#entries.get(channel)?.item.remove();
    this.#entries.delete(channel);
    this.#sayIfNoDirect();
    const suggested = this.#suggested.get(channel);
    if (suggested) byId("rooms").append(suggested);
  }

  /** A room that anybody may enter, shown while we are not in it. */
  suggest(channel, name) {
    if (this.#suggested.has(channel)) return;
    const button = this.#button(null, name, "room suggested");
    button.append(element("span", "room-join", "Join"));
    button.setAttribute("aria-label", `Join ${name}`);
    button.addEventListener("click", () => this.#onRoom(name));
    this.#suggested.set(channel, button.parentElement);
    if (!this.#entries.has(channel)) byId("rooms").append(button.parentElement);
  }

  current(channel) {
    for (const [known, { button }] of this.#entries) {
      if (known === channel) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
  }

  unread(channel, count) {
    const entry = this.#entries.get(channel);
    if (!entry) return;
    const { button, title, peer } = entry;
    button.querySelector(".badge").textContent = shown(count);
    button.classList.toggle("unread", count > 0);
    const name = peer ? `Conversation with ${title}` : `Room ${title}`;
    button.setAttribute("aria-label", count > 0 ? `${name}, ${count} unread` : name);
  }

  /** Beside the button that shows this list where it is hidden. */
  total(count) {
    byId("elsewhere").textContent = shown(count);
    byId("open-sidebar").setAttribute("aria-label", `Show conversations${count > 0 ? `, ${count} unread` : ""}`);
  }

  /** How the other one of a conversation of two is. */
  status(channel, status) {
    const dot = this.#entries.get(channel)?.button.querySelector(".dot");
    if (dot) dot.dataset.status = status;
  }

  #sayIfNoDirect() {
    byId("no-direct").hidden = [...this.#entries.values()].some(({ peer }) => peer);
  }

  #button(peer, title, kind) {
    const item = element("li");
    const button = element("button", kind);
    button.type = "button";
    const sign = peer ? element("span", "dot") : element("span", "hash", "#");
    if (peer) sign.dataset.status = "away";
    sign.setAttribute("aria-hidden", "true");
    button.append(sign, element("span", "room-name", title), element("span", "badge"));
    item.append(button);
    return button;
  }

  #place({ item, title, peer }) {
    const list = byId(peer ? "direct" : "rooms");
    const after = [...list.children].find((other) => {
      const button = other.firstElementChild;
      return button.classList.contains("suggested") || button.querySelector(".room-name").textContent > title;
    });
    list.insertBefore(item, after ?? null);
  }
}

const shown = (count) => (count > 99 ? "99+" : count > 0 ? String(count) : "");

/** A field that opens something. What is wrong with its text is said below it. @param {(text: string) => string} open */
function form(name, open) {
  const [field, hint] = [byId(`${name}-name`), byId(`${name}-hint`)];
  const complain = (text) => {
    hint.textContent = text;
    hint.hidden = text === "";
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  byId(`${name}-form`).addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const fault = open(field.value);
    complain(fault);
    if (fault) field.focus();
    else field.value = "";
  });
  field.addEventListener("input", () => complain(""));
  field.addEventListener("blur", () => field.value.trim() === "" && complain(""));
}
