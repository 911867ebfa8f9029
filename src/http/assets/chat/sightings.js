/**
 * When people were last seen, put together from everything this page hears: members' `last_seen`, people leaving, messages.
 *
 * Times are unix milliseconds and never move back. Pure state; whether somebody is here now is the rosters' to say.
 */

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
/** Bounded: crowds pass through a tab that stays open. Who was heard of longest ago is forgotten first. */
const MOST = 5_000;
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dateOfYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export class Sightings {
  /** @type {Map<string, number>} */ #at = new Map();

  see(user, at) {
    if (at <= (this.#at.get(user) ?? 0)) return;
    this.#at.delete(user);
    this.#at.set(user, at);
    if (this.#at.size > MOST) this.#at.delete(this.#at.keys().next().value);
  }

  /** @returns {string} like `last seen 5 min ago`; `offline` of somebody never seen */
  text(user, now = Date.now()) {
    const at = this.#at.get(user);
    return at === undefined ? "offline" : `last seen ${ago(at, now)}`;
  }
}

/** @returns {string} `just now`, `5 min ago`, `3 h ago`, `yesterday`, `4 days ago`, a date. Clocks that differ make no future. */
export function ago(at, now) {
  const since = Math.max(0, now - at);
  if (since < MINUTE) return "just now";
  if (since < HOUR) return `${Math.floor(since / MINUTE)} min ago`;
  if (since < DAY) return `${Math.floor(since / HOUR)} h ago`;
  if (since < 2 * DAY) return "yesterday";
  if (since < 7 * DAY) return `${Math.floor(since / DAY)} days ago`;
  return `on ${(new Date(at).getFullYear() === new Date(now).getFullYear() ? date : dateOfYear).format(at)}`;
}
