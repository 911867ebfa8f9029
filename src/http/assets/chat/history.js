/**
 * The past of one conversation, in pages: the newest when it is opened, older ones when its reader looks back.
 *
 * Stands between the client and a message list, so that the list has no hole: events that come while the first page is on its
 * way wait for it, and those that come while nobody has opened the conversation are left for that page to bring.
 *
 *     new ──open──▶ opening ──page──▶ open ⇄ looking back
 *      ▲───────────────┴─── it failed, or reset ───┘
 */

const PAGE = 50;

export class History {
  /** @type {"new" | "opening" | "open"} */ #stage = "new";
  #busy = false;
  /** The newest page was asked for and did not come. */ #failed = false;
  /** Events that came before the first page. */ #early = [];
  /** Answers to what was asked before a reset are nobody's. */ #life = 0;
  /** There is something before the oldest row. */ more = true;
  #list;
  #me;
  #fetch;
  #onError;

  /**
   * @param {import("./messages.js").MessageList} list @param {string} me
   * @param {(range: {before?: number, limit: number}) => Promise<{events: any[], more: boolean}>} fetch
   * @param {(error: Error) => void} onError
   */
  constructor(list, me, fetch, onError) {
    this.#list = list;
    this.#me = me;
    this.#fetch = fetch;
    this.#onError = onError;
  }

  get isOpen() {
    return this.#stage === "open";
  }

  /** Somebody wants to see it. */
  get isWanted() {
    return this.#stage !== "new";
  }

  /** The newest page, unless it is there or on its way. */
  async open() {
    if (this.#stage !== "new") return;
    this.#stage = "opening";
    this.#failed = false;
    const page = await this.#page({});
    if (!page) return;
    this.#stage = "open";
    this.#list.prepend(page.events, this.#me, !page.more);
    for (const event of this.#early.splice(0)) this.#list.add(event, this.#me);
    this.#list.toEnd();
    if (this.#list.nearTop) await this.older();
  }

  /** The page before the oldest row, unless there is none. */
  async older() {
    // The newest page could not be loaded: that is what is tried again.
    if (this.#stage === "new") return this.open();
    if (this.#stage !== "open" || this.#busy || !this.more) return;
    this.#list.say("Loading older messages…");
    const page = await this.#page({ before: this.#list.oldest });
    if (!page) return;
    const before = this.#list.oldest;
    this.#list.prepend(page.events, this.#me, !page.more);
    // A full list forgets what it was just given: asking again would bring the same.
    const grew = this.#list.oldest !== before;
    if (page.more && grew && this.#list.nearTop) await this.older();
  }

  /** An event that just came. */
  take(event) {
    if (this.#stage === "open") this.#list.add(event, this.#me);
    else if (this.#stage === "opening") this.#early.push(event);
    else if (this.#failed) this.open();
  }

  /** The list has dropped its first rows. */
  forgotten() {
    this.more = true;
  }

  /** The channel has begun a new life: nothing here is of it. */
  reset() {
    this.#life += 1;
    this.#stage = "new";
    this.#busy = false;
    this.#failed = false;
    this.#early = [];
    this.more = true;
    this.#list.clear();
  }

  async #page(bound) {
    const life = this.#life;
    this.#busy = true;
    try {
      const page = await this.#fetch({ ...bound, limit: PAGE });
      if (life !== this.#life) return null;
      this.more = page.more;
      this.#busy = false;
      return page;
    } catch (error) {
      if (life !== this.#life) return null;
      this.#busy = false;
      if (this.#stage === "opening") {
        this.#stage = "new";
        this.#failed = true;
      }
      this.#early = [];
      this.#list.say("Older messages could not be loaded. Scroll to try again.");
      if (error.code !== "closed") this.#onError(error);
      return null;
    }
  }
}
