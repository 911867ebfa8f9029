/**
 * What one does with one's own connection: be seen otherwise, crash it, bring it back, leave.
 */

import { byId, toast } from "./panel.js";
import { kept } from "./welcome.js";

/** @type {import("/client.js").Dormouse | null} */
let dormouse = null;

/** @param {import("/client.js").Dormouse} connection that the controls are for from now on */
export function attachControls(connection) {
  dormouse = connection;
  showStatus(keptStatus());
}

/** How this tab's person wanted to be seen last. */
export const keptStatus = () => kept.get("status") ?? "online";

byId("change-name").addEventListener("click", () => {
  dormouse?.close();
  kept.remove("name");
  location.reload();
});

byId("reconnect").addEventListener("click", () => {
  if (dormouse.state === "closed") location.reload();
  else dormouse.reconnectNow();
});

byId("crash").addEventListener("click", async () => {
  try {
    await dormouse.chaos("panic");
  } catch (error) {
    if (error.code === "forbidden") {
      toast("Chaos is switched off. Start the server with --set chaos.enabled=true to try this.", "bad");
    } else if (error.code !== "crashed") toast(error.message, "bad"); // `crashed` is what was asked for; `restarted` tells it
  }
});

function showStatus(status) {
  byId("status").value = status;
  byId("me-dot").dataset.status = status;
}

byId("status").addEventListener("change", ({ target }) => {
  kept.set("status", target.value);
  showStatus(target.value);
  dormouse.setStatus(target.value).catch((error) => toast(error.message, "bad"));
});
