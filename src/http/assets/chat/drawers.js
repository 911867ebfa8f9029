/**
 * The sidebar and the panel on narrow windows, where they slide over the conversation. On wide ones they stand beside it.
 */

import { byId } from "./panel.js";

const OPENERS = { sidebar: "open-sidebar", panel: "open-panel" };

/** @param {"sidebar" | "panel"} name @param {boolean} open */
export function drawer(name, open) {
  byId(name).classList.toggle("open", open);
  byId(OPENERS[name]).setAttribute("aria-expanded", String(open));
  byId("scrim").hidden = !document.querySelector(".sidebar.open, .panel.open");
  if (open) byId(name).querySelector("button").focus();
}

export function closeDrawers() {
  for (const name of Object.keys(OPENERS)) {
    if (!byId(name).classList.contains("open")) continue;
    drawer(name, false);
    byId(OPENERS[name]).focus();
  }
}

for (const [name, opener] of Object.entries(OPENERS)) byId(opener).addEventListener("click", () => drawer(name, true));
byId("close-panel").addEventListener("click", closeDrawers);
byId("scrim").addEventListener("click", closeDrawers);
document.addEventListener("keydown", ({ key }) => key === "Escape" && closeDrawers());

// On a wide window the panel stands open, and its button is a label only.
const wide = matchMedia("(min-width: 1080px)");
const labelOnly = () => { byId("open-panel").disabled = wide.matches; };
wide.addEventListener("change", labelOnly);
labelOnly();
