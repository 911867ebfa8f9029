/**
 * Whose company one is in: the people of the conversation that is shown, and how the other one of each conversation of two is.
 *
 * Puts together what rosters (who is here), members (who belongs here) and sightings (who was here) say, and draws it.
 */

import { byId, field } from "./panel.js";
import { PeopleList } from "./people.js";
import { Sightings } from "./sightings.js";

/** Who comes may be a new member: asked a moment later, once for all who come together. */
const MEMBERS_MS = 400;

export class Company {
  #sightings = new Sightings();
  #people;
  #sidebar;
  #page;
  #due = null;

  /**
   * @param {import("./sidebar.js").Sidebar} sidebar
   * @param {() => {conversations: Iterable<any>, current: any, me: string}} page what there is at present
   * @param {(user: string) => void} onChosen somebody was clicked
   */
  constructor(sidebar, page, onChosen) {
    this.#sidebar = sidebar;
    this.#page = page;
    this.#people = new PeopleList(byId("people"), onChosen);
  }

  /** A sign of life. */
  see(user, at) {
    this.#sightings.see(user, at);
  }

  show() {
    const { conversations, current, me } = this.#page();
    const all = [...conversations];
    for (const { channel, peer } of all) if (peer) this.#sidebar.status(channel, status(all, peer));
    if (!current) return;
    const { roster, members, peer } = current;
    const listed = roster.listed(new Set(peer ? [peer, ...members] : members), me);
    for (const person of listed) if (person.status === "away") person.status = status(all, person.user);
    this.#people.draw(listed, roster.unnamed, me, (user) => this.#sightings.text(user));
    field("count", roster.count);
    if (!peer) return;
    const how = status(all, peer);
    byId("peer-dot").dataset.status = how;
    field("peer", how === "away" ? this.#sightings.text(peer) : how);
  }

  /** Asks who belongs to the conversation that is shown, and shows it. */
  askMembers(ms = MEMBERS_MS) {
    clearTimeout(this.#due);
    this.#due = setTimeout(async () => {
      const members = await this.#page().current?.askMembers() ?? [];
      for (const { user, last_seen } of members) this.see(user, last_seen ?? 0);
      this.show();
    }, ms);
  }
}

/** Seen in any of our conversations, somebody is here. */
function status(conversations, user) {
  for (const { roster } of conversations) if (roster.status(user)) return roster.status(user);
  return "away";
}
