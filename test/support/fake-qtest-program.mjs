// Has QEMU's command line and sockets, and no device: what it does when it is spoken to is told by FAKE_TARGET.
import { createServer } from "node:net";

const mode = process.env["FAKE_TARGET"] ?? "hang";
const pathOf = (option) => {
  const value = process.argv[process.argv.indexOf(option) + 1] ?? "";
  return process.argv.includes(option) ? /^unix:([^,]+)/.exec(value)[1] : undefined;
};

createServer((socket) => {
  socket.on("error", () => {});
  if (mode === "no-qmp") return socket.write("hello, who is there?\n");
  socket.write('{"QMP": {"version": {}, "capabilities": []}}\n');
  socket.on("data", () => socket.write('{"return": []}\n'));
}).listen(pathOf("-qmp"));

const qtest = pathOf("-qtest");
if (qtest !== undefined) {
  createServer((socket) => {
    socket.setEncoding("latin1");
    socket.on("error", () => {});
    socket.on("data", (text) => {
      for (const line of text.trimEnd().split("\n")) answer(socket, line);
    });
  }).listen(qtest);
}

function answer(socket, line) {
  if (line.startsWith("irq_intercept_in")) return socket.write("OK\n");
  switch (mode) {
    case "die":
      process.stderr.write("fake: something terrible happened\n");
      return process.exit(3);
    case "garbage":
      return socket.write("OK 0xnonsense\n");
    case "chatter":
      return socket.write("OK 0x2\nOK 0x3\n");
    case "flood": {
      const block = Buffer.alloc(1 << 20, "x");
      const pour = () => socket.write(block, (error) => error ?? pour());
      return pour();
    }
  }
}
