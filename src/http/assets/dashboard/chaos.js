/**
 * Faults on demand, where the server allows them: the form of the dashboard.
 */

import { ask, complaint } from "./api.js";
import { byId, say } from "./elements.js";

/** Injects a fault and says how many it hit. */
export async function inject(fault, target, more = {}) {
  const words = await ask("POST", "/v1/chaos", { fault, target, ...more }).then(
    ({ hit }) => (hit === 0 ? "Hit nobody." : `Hit ${hit}.`), complaint);
  say(byId("hit"), words);
}

export function onChaos() {
  byId("chaos-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const fault = byId("fault").value;
    const amount = Number(byId("amount").value);
    const target = byId("share").value === "percent" ? { fraction: Math.min(1, amount / 100) } : { count: amount };
    const more = fault === "panic" ? { where: byId("where").value } : {};
    if (fault === "stall") more.ms = Number(byId("stall-ms").value);
    inject(fault, target, more);
  });
  byId("panic-shard").addEventListener("click", () => inject("panic_shard", { count: 1 }));
  const adapt = () => {
    byId("where-field").hidden = byId("fault").value !== "panic";
    byId("stall-field").hidden = byId("fault").value !== "stall";
  };
  byId("fault").addEventListener("change", adapt);
  adapt();
}
