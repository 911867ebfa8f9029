/**
 * The field to write in: its height, its keys, and when others are told that somebody types.
 *
 * Knows no conversation: what was written goes to `onSend`, and a draft is put in and taken out by the page.
 */

import { byId } from "./panel.js";
import { TYPING_EVERY_MS } from "./people.js";

export class Composer {
  #draft = byId("draft");
  #send = byId("composer").querySelector(".send");
  #lastTyping = -Infinity;

  /** @param {{onSend: (text: string) => boolean, onTyping: (typing: boolean) => void}} asked */
  constructor({ onSend, onTyping }) {
    const submit = () => {
      const text = this.#draft.value.trim();
      if (!text) return;
      if (onSend(text)) this.text = "";
    };
    byId("composer").addEventListener("submit", (submitted) => {
      submitted.preventDefault();
      submit();
    });
    this.#draft.addEventListener("keydown", (pressed) => {
      if (pressed.key !== "Enter" || pressed.shiftKey || pressed.isComposing) return;
      pressed.preventDefault();
      submit();
    });
    this.#draft.addEventListener("input", () => {
      this.#fit();
      const typing = this.text.trim() !== "";
      const due = performance.now() - this.#lastTyping >= TYPING_EVERY_MS;
      if (typing ? !due : this.#lastTyping === -Infinity) return;
      this.#lastTyping = typing ? performance.now() : -Infinity;
      onTyping(typing);
    });
  }

  get text() {
    return this.#draft.value;
  }

  set text(text) {
    this.#draft.value = text;
    this.#lastTyping = -Infinity;
    this.#fit();
  }

  /** Ready to write to this conversation. @param {string} name like `#lobby` @returns {boolean} whether the field has the focus */
  open(name, text) {
    this.#draft.disabled = false;
    this.#draft.placeholder = `Message ${name}`;
    this.text = text;
    // On a phone the keyboard would cover what one came to read.
    const wanted = matchMedia("(hover: hover)").matches;
    if (wanted) this.#draft.focus();
    return wanted;
  }

  /** The field grows with its text up to a limit in the style sheet; the list above gives way. */
  #fit() {
    this.#draft.style.height = "auto";
    this.#draft.style.height = `${this.#draft.scrollHeight}px`;
    this.#send.disabled = this.text.trim() === "";
  }
}
