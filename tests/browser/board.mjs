// The dashboard as an operator uses it: by its fields, buttons and tables, waiting for what can be seen.
//
// Used by dashboard.test.mjs beside it.

export class Board {
  /** Uncaught errors, and complaints on the console other than those about a server that is away or refuses. */
  complaints = [];

  /** @param {string} [hash] like `#connection=c1` */
  static async open(context, url, hash = "") {
    const board = new Board();
    board.page = await context.newPage();
    board.page.setDefaultTimeout(30_000);
    board.page.on("pageerror", (error) => board.complaints.push(error.stack));
    board.page.on("console", (message) => {
      const expected = /WebSocket connection|ERR_CONNECTION|status of (401|403|404)/;
      if (message.type() === "error" && !expected.test(message.text())) board.complaints.push(message.text());
    });
    await board.page.goto(new URL(`/dashboard${hash}`, url).href);
    return board;
  }

  state(state) {
    return this.page.waitForSelector(`body[data-state="${state}"]`);
  }

  /** Waits until the board is there with a sample that tells of an interval. */
  async live() {
    await this.page.locator("#board:not([hidden])").waitFor();
    await this.tile("cpu", /\d/);
  }

  /** Waits until another sample is shown. */
  async another() {
    const node = await this.page.textContent("#node");
    await this.page.waitForFunction((before) => document.querySelector("#node").textContent !== before, node);
  }

  /** Waits until a figure at the top reads like this. */
  async tile(name, pattern) {
    await this.page.locator(`[data-tile="${name}"] .figure`, { hasText: pattern }).waitFor();
  }

  /** Waits until a row of a table reads like this, and returns it. */
  async row(table, pattern) {
    const row = this.page.locator(`#${table} tr`, { hasText: pattern }).first();
    await row.waitFor();
    return row;
  }

  health(state) {
    return this.page.locator(`#health[data-health="${state}"]`).waitFor();
  }

  /** Waits until a fact of the connection's page reads like this. */
  async fact(name, pattern) {
    await this.page.locator("#facts div", { has: this.page.getByText(name, { exact: true }) }).locator("dd", { hasText: pattern }).waitFor();
  }

  /** What is drawn in a plot. */
  drawn(title) {
    return this.plot(title).locator("canvas").evaluate((canvas) => canvas.toDataURL());
  }

  plot(title) {
    return this.page.locator("figure.plot", { has: this.page.getByRole("heading", { name: title, exact: true }) });
  }

  width() {
    return this.page.evaluate(() => document.documentElement.scrollWidth);
  }
}
