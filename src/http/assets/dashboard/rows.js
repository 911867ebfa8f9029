/**
 * Tables that change every second without losing what somebody has selected or focused: rows are kept by their key, cells
 * are written only where their text is another one.
 */

import { element, linkTo, say } from "./elements.js";

/**
 * @typedef {string | null | { text: string, kind?: string, connection?: string, title?: string }} Cell
 * `connection`: the text leads to its page; a null leaves the cell to somebody else
 */

export class Rows {
  #rows = new Map();

  /** @param {HTMLTableSectionElement} body */
  constructor(body) {
    this.body = body;
    this.none = element("tr", "none");
    this.none.insertCell().colSpan = body.closest("table").querySelectorAll("thead th").length;
  }

  /** @param {{ key: string, kind?: string, cells: Cell[] }[]} lines in their order @param {string} empty what is said where there is none */
  show(lines, empty = "") {
    const keys = new Set(lines.map(({ key }) => key));
    for (const [key, row] of this.#rows) {
      if (!keys.has(key)) {
        row.remove();
        this.#rows.delete(key);
      }
    }
    lines.forEach(({ key, kind = "", cells }, nth) => {
      let row = this.#rows.get(key);
      if (!row) {
        row = element("tr");
        this.#rows.set(key, row);
      }
      if (row.className !== kind) row.className = kind;
      cells.forEach((cell, column) => write(row.cells[column] ?? row.insertCell(), cell));
      if (this.body.children[nth] !== row) this.body.insertBefore(row, this.body.children[nth] ?? null);
    });
    say(this.none.cells[0], empty);
    if (lines.length > 0) this.none.remove();
    else if (!this.none.isConnected) this.body.replaceChildren(this.none);
  }
}

function write(cell, content) {
  if (content === null) return;
  const { text, kind = "", connection, title = "" } = typeof content === "object" ? content : { text: content };
  if (cell.className !== kind) cell.className = kind;
  if (cell.title !== title) cell.title = title;
  if (!connection) return say(cell, text);
  let link = cell.querySelector("a");
  if (!link) {
    link = element("a");
    cell.replaceChildren(link);
  }
  if (link.getAttribute("href") !== linkTo(connection)) link.href = linkTo(connection);
  say(link, text);
}
