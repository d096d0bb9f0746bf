// The relay's work on Node and `ws`: parse, stamp, serialize, send. A reference for bench/side_by_side.py; it authenticates nobody and keeps no log.
//
//   node ws_relay.mjs PORT
//
// Same addresses and same stamps as picows_relay.py.

import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { WebSocketServer } from "ws";

const server = createServer((request, response) => response.writeHead(request.url === "/health/ready" ? 200 : 404).end());
const calls = new Map();

new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 65536 }).on("connection", (socket, request) => {
  const query = new URL(request.url, "http://relay").searchParams;
  const callId = query.get("call_id");
  const sessionId = query.get("session_id");
  const senderId = randomUUID();
  const call = calls.get(callId) ?? { seq: 0, sockets: new Map() };
  calls.set(callId, call);
  call.sockets.set(sessionId, socket);

  socket.on("message", (data) => {
    const message = JSON.parse(data);
    message.sender_id = senderId;
    message.session_id = sessionId;
    message.call_id = callId;
    message.seq = ++call.seq;
    message.timestamp = new Date().toISOString();
    call.sockets.get(message.target_id)?.send(JSON.stringify(message));
  });

  socket.on("close", () => {
    call.sockets.delete(sessionId);
    if (call.sockets.size === 0) calls.delete(callId);
  });

  socket.send(JSON.stringify({ type: "welcome", session_id: sessionId }));
});

server.listen(Number(process.argv[2]), "127.0.0.1");
