/**
 * Who are you: the form before the first connection, and what a tab remembers of the answer.
 */

import { isName, suggestName } from "./names.js";
import { byId } from "./panel.js";

/** Kept per tab, so that two tabs can be two people, and a reloaded one is still the same. */
export const kept = {
  get: (name) => sessionStorage.getItem(`dormouse.${name}`),
  set: (name, value) => sessionStorage.setItem(`dormouse.${name}`, value),
  remove: (name) => sessionStorage.removeItem(`dormouse.${name}`),
};

/** Shows the form. @param {string} [hint] */
export function welcome(hint) {
  byId("app").hidden = true;
  byId("welcome").hidden = false;
  byId("name").value ||= suggestName();
  if (hint) byId("name-hint").textContent = hint;
  byId("name").focus();
  byId("name").select();
}

/** The server will not have somebody of this name without a token. */
export function askToken() {
  kept.remove("name");
  byId("token-row").hidden = false;
  welcome("The server did not accept this name. If it wants an access token, put it in here.");
}

/** @param {(name: string, token: string) => void} enter called for each name that was given, the kept one at once */
export function onName(enter) {
  const admitted = (name, token) => {
    byId("welcome").hidden = true;
    byId("app").hidden = false;
    enter(name, token);
  };
  byId("another-name").addEventListener("click", () => {
    byId("name").value = suggestName();
  });
  byId("name-form").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const name = byId("name").value.trim();
    if (!isName(name)) {
      byId("name").setAttribute("aria-invalid", "true");
      byId("name-hint").textContent = "Use 1 to 32 letters, digits, dots, dashes or underscores.";
      byId("name").focus();
      return;
    }
    byId("name").removeAttribute("aria-invalid");
    kept.set("name", name);
    admitted(name, byId("token").value || name);
  });
  const known = kept.get("name");
  if (known && isName(known)) admitted(known, known);
  else welcome();
}
