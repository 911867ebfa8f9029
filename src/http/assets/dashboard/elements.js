/**
 * Elements with text in them. Nothing that a server or a client says ever becomes markup.
 */

export const byId = (id) => document.getElementById(id);

/** @param {string} [kind] its class */
export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== "") made.textContent = text;
  return made;
}

/** Sets a text without touching the document where it is there already: selections and readers are not disturbed. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const linkTo = (connection) => `#connection=${encodeURIComponent(connection)}`;

/** Makes a button that wants to be pressed twice: what it does cannot be taken back. */
export function armed(button, question, act) {
  const words = button.textContent;
  let timer = 0;
  const disarm = () => {
    clearTimeout(timer);
    delete button.dataset.armed;
    button.textContent = words;
  };
  button.addEventListener("click", () => {
    if (button.dataset.armed === undefined) {
      button.dataset.armed = "";
      button.textContent = question;
      timer = setTimeout(disarm, 4000);
      return;
    }
    disarm();
    act();
  });
  button.addEventListener("blur", disarm);
}
