// A real server for browser tests: started on a free port, killed without mercy, started again where it was.
//
// The binary is DORMOUSE_BIN, or the debug build of this repository. Used by *.test.mjs beside it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.DORMOUSE_BIN ?? fileURLToPath(new URL("../../target/debug/dormouse", import.meta.url));

export class TestServer {
  #process;

  /** @param {string[]} settings like `chaos.enabled=true` */
  static async start(...settings) {
    const server = new TestServer();
    server.settings = settings;
    server.directory = await mkdtemp(join(tmpdir(), "dormouse-"));
    await server.launch("127.0.0.1:0");
    return server;
  }

  /** Runs the binary and waits until it says where it listens. */
  async launch(address) {
    // Browsers offer compression, so it is tried here.
    const settings = [`store.path=${join(this.directory, "data")}`, "listen.compression=true", ...this.settings].flatMap((pair) => ["--set", pair]);
    const child = spawn(BINARY, ["serve", "--listen", address, ...settings], {
      cwd: this.directory,
      env: { ...process.env, NO_COLOR: "1" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    const failed = once(child, "error").then(([error]) => { throw error; });
    failed.catch(() => {});
    this.address = await Promise.race([listening(child), failed]);
  }

  get url() {
    return `http://${this.address}/`;
  }

  /** Messages of a backend, in this order. */
  async publish(channel, ...texts) {
    const batch = texts.map((text) => ({ channel, data: { text }, from: "backend" }));
    const body = JSON.stringify(batch);
    const answer = await fetch(new URL("/v1/publish/batch", this.url), { method: "POST", body, headers: { "content-type": "application/json" } });
    if (!answer.ok) throw new Error(`publishing failed: ${answer.status} ${await answer.text()}`);
  }

  /** SIGKILL: no goodbye to anybody. */
  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }

  async restart() {
    await this.launch(this.address);
  }

  async stop() {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The log goes on being read after the address was found, so that a full pipe never stops the server. */
function listening(child) {
  return new Promise((resolve, reject) => {
    const last = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      const plain = line.replace(/\x1b\[[0-9;]*m/g, "");
      last.push(plain);
      last.splice(0, last.length - 20);
      const address = /listening.*?addr="?([\d.]+:\d+)/.exec(plain);
      if (address) resolve(address[1]);
    });
    child.on("exit", (code, signal) => reject(new Error(`${BINARY} ended (${code ?? signal}):\n${last.join("\n")}`)));
  });
}
