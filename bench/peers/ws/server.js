// Node's ws as its documentation's broadcast example, one process.
const { WebSocketServer } = require("ws");

const subscribers = new Set();
const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
server.on("connection", (socket, request) => {
  if (request.url === "/subscribe") {
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
    socket.send('{"op":"ready"}');
  } else if (request.url === "/publish") {
    socket.on("message", (data) => {
      for (const subscriber of subscribers) subscriber.send(data, { binary: false });
    });
  } else if (request.url === "/echo") {
    socket.on("message", (data) => socket.send(data, { binary: false }));
  }
  socket.on("error", () => {});
});
