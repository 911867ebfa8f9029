/**
 * The dashboard: one feed, what it shows of the node, and the page of a connection. Keeps nothing but the key of this tab.
 *
 * `feed.js` brings the samples, `tiles.js`, `plots.js` and `tables.js` show them, `connection.js` asks for one connection.
 */

import { key } from "./dashboard/api.js";
import { inject, onChaos } from "./dashboard/chaos.js";
import { Connection } from "./dashboard/connection.js";
import { byId, say } from "./dashboard/elements.js";
import { Feed } from "./dashboard/feed.js";
import { age } from "./dashboard/figures.js";
import { Plots } from "./dashboard/plots.js";
import { Tables } from "./dashboard/tables.js";
import { Tiles } from "./dashboard/tiles.js";

const feed = new Feed();
const tiles = new Tiles(byId("tiles"));
const plots = new Plots(byId("plots"));
const tables = new Tables((name) => inject("panic_actor", { actor: name }));
const connection = new Connection(feed);
let paused = false;

/** What is shown while it does not move. */
let shown = null;

function show() {
  if (!paused) shown = { sample: feed.sample, points: feed.points.slice() };
  const { sample, points } = shown ?? {};
  if (!sample) return;
  const chaos = sample.chaos && feed.may("chaos");
  byId("chaos").hidden = !chaos;
  byId("board").dataset.chaos = String(chaos);
  say(byId("node"), `${sample.node}, version ${sample.version}, up ${age(sample.uptime_ms)}`);
  tiles.show(sample, points);
  plots.show(points, Number(byId("window").value));
  tables.show(sample, byId("sort").value, chaos);
  const old = sample.connections.counted_ms_ago;
  say(byId("counted"), old > 2500 ? `Counted ${age(old)} ago: a walk over so many connections takes time.` : "");
}

const STATES = { connecting: "connecting", live: "live", away: "the server does not answer", locked: "" };

function become() {
  const { state, words } = feed;
  document.body.dataset.state = state;
  say(byId("state"), paused && state === "live" ? "paused" : STATES[state]);
  say(byId("trouble"), words);
  byId("gate").hidden = state !== "locked";
  route();
  connection.permit();
  if (state === "locked") byId("key").focus();
}

/** The connection that the address names. */
function named() {
  return new URLSearchParams(location.hash.slice(1)).get("connection");
}

function route() {
  const id = named();
  const locked = feed.state === "locked";
  byId("board").hidden = locked || id !== null || feed.sample === null;
  byId("one").hidden = locked || id === null;
  byId("controls").hidden = locked || id !== null;
  document.title = id === null ? "Dormouse dashboard" : `${id} · Dormouse dashboard`;
  // Before the first word of the server nobody knows whether a key is needed.
  connection.show(locked || feed.hello.node === undefined ? null : id);
}

feed.addEventListener("sample", () => {
  if (byId("board").hidden) route();
  show();
});
feed.addEventListener("state", become);
addEventListener("hashchange", () => {
  route();
  show();
  scrollTo(0, 0);
});
for (const id of ["window", "sort"]) byId(id).addEventListener("change", show);
byId("every").addEventListener("change", () => { feed.every = Number(byId("every").value) * 1000; });
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  become();
  show();
});
byId("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value);
  byId("key").value = "";
  feed.connect();
});
onChaos();
feed.connect();
