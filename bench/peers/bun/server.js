// uWebSockets as Bun ships it: native topics and native publish, one process.
const server = Bun.serve({
  port: Number(Bun.argv[2]),
  hostname: "127.0.0.1",
  fetch(request, server) {
    const role = request.url.slice(request.url.lastIndexOf("/") + 1);
    if (server.upgrade(request, { data: role })) return;
    return new Response("a WebSocket server", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 120,
    open(socket) {
      if (socket.data === "subscribe") {
        socket.subscribe("bench");
        socket.send('{"op":"ready"}');
      }
    },
    message(socket, text) {
      if (socket.data === "publish") server.publish("bench", text);
      else if (socket.data === "echo") socket.send(text);
    },
  },
});
