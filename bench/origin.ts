// The origin, a process of its own whose CPU is not counted: answers everything with the same 200, as cheaply as it can.
import { createServer } from "node:net";

const BODY = JSON.stringify({ id: 4711, name: "a thing", tags: ["one", "two"], note: "x".repeat(180) });
const ANSWER = Buffer.from(
  [
    "HTTP/1.1 200 OK",
    "Content-Type: application/json",
    `Content-Length: ${BODY.length}`,
    "Cache-Control: private, max-age=0",
    'ETag: "4711-1"',
    "Vary: Accept-Encoding",
    "Server: origin",
    "",
    BODY,
  ].join("\r\n"),
);

// The load consists of GET requests without bodies, one at a time on a connection.
const server = createServer((socket) => {
  let pending = "";
  socket.setNoDelay(true);
  socket.on("data", (chunk) => {
    pending += chunk.toString("latin1");
    if (!pending.endsWith("\r\n\r\n")) return;
    pending = "";
    socket.write(ANSWER);
  });
  socket.on("error", () => socket.destroy());
});

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address === "object") console.log(address.port);
});
