// The client is small, and stays so: it is what every page loads before the first word.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const CLIENT = new URL("../../src/http/assets/client.js", import.meta.url);
const README = new URL("../../README.md", import.meta.url);
/** With all comments, as it is served; a page's own tools may take those out. */
const MOST_BYTES = 40_000;
const MOST_GZIPPED = 12_000;

test("the client has the size that the README says, below its bound", async (t) => {
  const text = await readFile(CLIENT);
  const [raw, gzipped] = [text.length, gzipSync(text, { level: 9 }).length];
  t.diagnostic(`client.js: ${raw} bytes as it is, ${gzipped} with gzip`);
  assert.ok(raw <= MOST_BYTES, `${raw} bytes, ${MOST_BYTES} are allowed`);
  assert.ok(gzipped <= MOST_GZIPPED, `${gzipped} bytes with gzip, ${MOST_GZIPPED} are allowed`);

  // To the nearest hundred: a word in a comment need not change the README.
  const shown = (bytes) => `${(Math.round(bytes / 100) / 10).toFixed(1)} kB`;
  const figure = /(<!-- size: client.js -->)(.*?)(<!-- \/size -->)/s;
  const readme = await readFile(README, "utf8");
  const today = `${shown(raw)} as it is, ${shown(gzipped)}`;
  if (process.env.DORMOUSE_WRITE_README) await writeFile(README, readme.replace(figure, `$1${today}$3`));
  else assert.equal(figure.exec(readme)[2], today, "DORMOUSE_WRITE_README=1 writes what is true today");
});
