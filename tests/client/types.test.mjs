// The types of the client: what applications write compiles, what is a mistake does not, and they name what is there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import * as client from "../../src/http/assets/client.js";
import { Peer } from "./peer.mjs";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const TYPES = path("../../src/http/assets/client.d.ts");
const OPTIONS = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  types: ["node"],
  typeRoots: [path("../node_modules/@types")],
};

/** A compiled file, and what is wrong in it: `line: message`, lines from 1. */
function compile(file) {
  const program = ts.createProgram([file], OPTIONS);
  const complaints = ts.getPreEmitDiagnostics(program).map(({ file: at, start, messageText }) => ({
    file: at?.fileName,
    line: at ? at.getLineAndCharacterOfPosition(start).line + 1 : 0,
    message: ts.flattenDiagnosticMessageText(messageText, "\n"),
  }));
  return { program, complaints };
}

test("an application in TypeScript that uses everything compiles, strictly", () => {
  assert.deepEqual(compile(path("types/app.ts")).complaints, []);
});

test("each mistake of an application is found, where it is, and nothing else", () => {
  const { program, complaints } = compile(path("types/mistakes.ts"));
  const lines = program.getSourceFile(path("types/mistakes.ts")).text.split("\n");
  const marked = lines.flatMap((line, index) => (line.endsWith("// ✗") ? [index + 1] : []));
  assert.ok(marked.length > 20);
  assert.deepEqual([...new Set(complaints.map(({ line }) => line))], marked, JSON.stringify(complaints, null, 2));
  assert.ok(complaints.every(({ file }) => file.endsWith("mistakes.ts")));
});

test("the types name what the client has, and nothing that it has not", () => {
  const { program, complaints } = compile(TYPES);
  assert.deepEqual(complaints, []);
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(TYPES)));
  const values = exported.filter(({ flags }) => flags & ts.SymbolFlags.Value);
  assert.deepEqual(values.map(({ name }) => name).sort(), Object.keys(client).sort());

  const peer = new Peer();
  const dormouse = peer.connect();
  const instances = {
    Dormouse: dormouse,
    Subscription: dormouse.subscribe("chat:lobby"),
    Backoff: new client.Backoff(Math.random),
    DormouseError: new client.DormouseError({ code: "closed", message: "" }),
  };
  dormouse.close();
  // What the client needs of itself in another of its classes.
  const inner = ["onEvent", "options", "floor", "opening", "opened", "failed", "request", "established", "admit", "implicit", "foreign"];
  for (const [name, instance] of Object.entries(instances)) {
    const symbol = exported.find((one) => one.name === name);
    const typed = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map((one) => one.name);
    const prototype = Object.getOwnPropertyNames(Object.getPrototypeOf(instance));
    const real = [...Object.keys(instance), ...prototype].filter((one) => one !== "constructor" && !inner.includes(one));
    const ofErrors = name === "DormouseError" ? ["name", "message", "stack", "cause"] : [];
    const own = (names) => [...new Set(names)].filter((one) => !ofErrors.includes(one)).sort();
    assert.deepEqual(own(typed), own(real), name);
  }
});
