// Socket.IO with rooms, over WebSocket alone, one process.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false, pingInterval: 45_000 });
io.on("connection", (socket) => {
  const { role } = socket.handshake.query;
  // As its guide on memory advises: the first request of each connection need not be kept.
  socket.conn.request = null;
  socket.client.request = null;
  if (role === "subscribe") {
    socket.join("bench");
  } else if (role === "publish") {
    socket.on("publish", (text) => io.to("bench").emit("event", text));
  } else if (role === "echo") {
    socket.on("echo", (text) => socket.emit("echo", text));
  }
  socket.emit("ready");
});
http.listen(Number(process.argv[2]), "127.0.0.1", 4096);
