// The dashboard: asks /v1/node and /v1/connections once a second while somebody looks, and shows what they say. Keeps
// nothing but the last two minutes of deliveries, and the key of this tab.

const EVERY_MS = 1000;
const SAMPLES = 120;
const TOP = 20;

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const rates = [];
let last = null;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path) {
  const key = sessionStorage.getItem("dormouse.key");
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, body?.error?.message ?? `HTTP ${answer.status}`);
  return body;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function bytes(count) {
  return count < 10_000 ? `${number.format(count)} B` : `${number.format(Math.round(count / 1024))} KiB`;
}

function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

function rows(list, pairs) {
  list.replaceChildren(...pairs.map(([name, value]) => {
    const row = document.createElement("div");
    row.append(element("dt", name), element("dd", value));
    return row;
  }));
}

function table(body, lines) {
  body.replaceChildren(...lines.map(({ cells, kind }) => {
    const row = document.createElement("tr");
    if (kind) row.className = kind;
    row.append(...cells.map((cell) => (Array.isArray(cell) ? element("td", ...cell) : element("td", cell))));
    return row;
  }));
}

function showConnections({ total, awake, dormant, parked }) {
  at("total").textContent = number.format(total);
  const all = Math.max(1, total + parked);
  for (const [state, count] of Object.entries({ awake, dormant, parked })) {
    at(state).textContent = number.format(count);
    document.querySelector(`.bar .${state}`).style.width = `${(count / all) * 100}%`;
  }
}

function showRate(node) {
  const now = { node: node.node, delivered: node.ledger.delivered, at: node.uptime_ms };
  if (last?.node === now.node && now.at > last.at) {
    // A shard that does not answer takes its deliveries out of the sum; that is no negative rate.
    rates.push(Math.max(0, ((now.delivered - last.delivered) * 1000) / (now.at - last.at)));
    if (rates.length > SAMPLES) rates.shift();
  }
  last = now;
  const peak = Math.max(0, ...rates);
  at("rate").textContent = number.format(Math.round(rates.at(-1) ?? 0));
  at("peak").textContent = number.format(Math.round(peak));
  const from = SAMPLES - rates.length;
  const points = rates.map((rate, index) => `${from + index + 1},${(31 - (rate / Math.max(1, peak)) * 30).toFixed(1)}`);
  document.querySelector("#curve polyline").setAttribute("points", points.join(" "));
}

function showLedger(ledger) {
  const dropped = Object.entries(ledger.dropped);
  const lost = dropped.reduce((sum, [, count]) => sum + count, 0);
  rows(at("ledger"), [
    ["offered", number.format(ledger.offered)],
    ["delivered", number.format(ledger.delivered)],
    ["pending", number.format(ledger.pending)],
    ...dropped.map(([reason, count]) => [`dropped: ${reason}`, number.format(count)]),
  ]);
  const open = ledger.offered - ledger.delivered - ledger.pending - lost;
  at("balance").textContent = open === 0 ? "The sums match." : `${number.format(Math.abs(open))} on their way.`;
}

function showShards(shards) {
  table(at("shards"), shards.map((shard) => ({
    kind: shard.answers ? "" : "stuck",
    cells: shard.answers
      ? [shard.shard, ...["awake", "dormant", "parked", "restarts"].map((field) => number.format(shard[field])),
        bytes(shard.outbox_bytes)]
      : [`${shard.shard} does not answer`, "", "", "", "", ""],
  })));
}

/** The most frequent ones; the rest is in `/v1/node`. */
function showCrashes(crashes) {
  at("crashed").hidden = crashes.length === 0;
  const when = (unixMs) => `${duration(Math.max(0, Date.now() - unixMs))} ago`;
  table(at("crashes"), crashes.slice(0, TOP).map((each) => ({
    cells: [each.place, each.kind, number.format(each.count), when(each.first_at), when(each.last_at),
      each.connection ?? "", each.panic],
  })));
}

function showTop(connections) {
  at("nobody").hidden = connections.length > 0;
  table(at("connections"), connections.map((each) => ({
    cells: [each.connection, each.user ?? "not identified", [each.state, each.state], each.shard, number.format(each.mailbox),
      bytes(each.outbox_bytes), number.format(each.restarts), each.subscriptions.length, duration(each.idle_ms),
      bytes(each.record_bytes)],
  })));
}

async function look() {
  const [node, top] = await Promise.all([ask("/v1/node"), ask(`/v1/connections?sort=${at("sort").value}&limit=${TOP}`)]);
  at("gate").hidden = true;
  at("board").hidden = false;
  at("trouble").hidden = true;
  at("node").textContent = `${node.node}, version ${node.version}, up ${duration(node.uptime_ms)}${node.ready ? "" : ", draining"}`;
  showConnections(node.connections);
  showRate(node);
  showLedger(node.ledger);
  at("restarts").textContent = number.format(node.restarts);
  rows(at("actors"), node.actors.map(({ name, state, restarts }) => [
    state === "running" ? name : `${name} (${state})`,
    number.format(restarts),
  ]));
  showShards(node.shards);
  showCrashes(node.crashes);
  showTop(top.connections);
}

function troubled(error) {
  const wantsKey = error instanceof Refused && error.status === 401;
  at("gate").hidden = !wantsKey;
  if (wantsKey) at("board").hidden = true;
  const text = error instanceof Refused ? error.message : "the server does not answer";
  at("trouble").textContent = wantsKey && !sessionStorage.getItem("dormouse.key") ? "" : text;
  at("trouble").hidden = at("trouble").textContent === "";
  return wantsKey;
}

let timer = 0;
let looking = false;

async function round() {
  clearTimeout(timer);
  if (looking || document.hidden) return;
  looking = true;
  const stopped = await look().then(() => false, troubled);
  looking = false;
  if (!stopped) timer = setTimeout(round, EVERY_MS);
}

at("sort").addEventListener("change", round);
document.addEventListener("visibilitychange", round);
at("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("dormouse.key", at("key").value);
  round();
});
round();
