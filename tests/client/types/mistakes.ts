// What must not compile: each line that ends in ✗ is a mistake, and no other is. types.test.mjs compares.

import { connect, Subscription, type Cursor } from "../../../src/http/assets/client.js";

const dormouse = connect("ws://localhost/v1/gateway", { token: "ada" });
connect(8080); // ✗
connect("ws://localhost", { tokn: "ada" }); // ✗
connect("ws://localhost", { status: "away" }); // ✗
connect("ws://localhost", { getToken: () => 7 }); // ✗
connect("ws://localhost", { WebSocket: Date }); // ✗

dormouse.on("evnt", () => {}); // ✗
dormouse.on("gap", ({ offset }) => offset); // ✗
dormouse.on("event", ({ data }) => data.text); // ✗
dormouse.on("membership", (change) => change.unread); // ✗
dormouse.subscribe("chat:lobby", { last: "50" }); // ✗
dormouse.subscribe<{ text: string }>("chat:lobby", {}, ({ data }) => data.txt); // ✗
dormouse.state = "live"; // ✗
dormouse.memberships.clear(); // ✗
new Subscription(); // ✗

export async function talk(cursor: Cursor): Promise<void> {
  const published = await dormouse.publish("chat:lobby", { text: "hello" });
  console.log(published.ofset); // ✗
  await dormouse.publish("chat:lobby"); // ✗
  await dormouse.history("chat:lobby", { after: 1 }); // ✗
  await dormouse.setStatus("gone"); // ✗
  await dormouse.ack("chat:lobby", { seen: 1 }); // ✗
  await dormouse.chaos("fire"); // ✗
  (await dormouse.rpc("sum", [1])).sum; // ✗
  console.log(cursor.offset.length); // ✗
}
