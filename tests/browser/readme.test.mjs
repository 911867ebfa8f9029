// The page of the README, as it stands there, from a server of its own: it imports the client from Dormouse and talks.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "node:test";
import { TestServer } from "./server.mjs";
import { launch } from "./tab.mjs";

const README = new URL("../../README.md", import.meta.url);

test("the page of the README shows what it has said", { timeout: 60_000 }, async () => {
  const [, page] = /<!-- run: page -->\n+```html\n(.*?)^```$/ms.exec(await readFile(README, "utf8"));
  let served = "";
  const pages = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(served);
  });
  pages.listen(0, "127.0.0.1");
  await once(pages, "listening");
  const origin = `http://127.0.0.1:${pages.address().port}`;
  const [server, browser] = await Promise.all([TestServer.start(`listen.origins=["${origin}"]`), launch()]);
  try {
    served = page.replaceAll("127.0.0.1:8080", server.address);
    const tab = await browser.newPage();
    const complaints = [];
    tab.on("pageerror", (error) => complaints.push(error.stack));
    await tab.goto(origin);
    await tab.waitForSelector("li", { timeout: 30_000 });
    assert.deepEqual(await tab.locator("li").allTextContents(), ["frank: hello"]);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    await server.stop();
    pages.close();
  }
});
