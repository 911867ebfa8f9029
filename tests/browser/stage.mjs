// What a browser test plays on: a real server, a browser, and an empty window in which every tab is a person.
//
// Used by *.test.mjs beside it.

import { after, before, beforeEach } from "node:test";
import { TestServer } from "./server.mjs";
import { launch, openWindow, Tab } from "./tab.mjs";

export class Stage {
  /** @param {string[]} settings of the server, like `chaos.enabled=true` */
  static async open(...settings) {
    const stage = new Stage();
    await stage.raise(settings);
    await stage.clear();
    return stage;
  }

  async raise(settings) {
    [this.browser, this.server] = await Promise.all([launch(), TestServer.start(...settings)]);
  }

  /** An empty window in place of the one before. */
  async clear() {
    await this.window?.close();
    this.window = await openWindow(this.browser);
  }

  /** A person in a tab of the window. */
  tab(name) {
    return Tab.join(this.window, this.server.url, name);
  }

  async close() {
    await this.browser?.close();
    await this.server?.stop();
  }
}

/** One for all tests of a `describe`, which calls this first; the window is each test's own. */
export function staged(...settings) {
  const stage = new Stage();
  before(() => stage.raise(settings));
  after(() => stage.close());
  beforeEach(() => stage.clear());
  return stage;
}
