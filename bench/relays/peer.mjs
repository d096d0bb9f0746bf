// PeerJS's own signaling server, as its package runs it. A reference for bench/side_by_side.py.
//
//   node peer.mjs PORT
//
// Limits and time-outs are raised so that nothing but relaying happens while it is measured.

import { PeerServer } from "peer";

PeerServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  path: "/",
  key: "bench",
  concurrent_limit: 100_000,
  alive_timeout: 3_600_000,
});
