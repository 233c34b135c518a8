// A program that answers on standard output what comes on standard input, in capitals, and goes on after the end of its input.
import { openStdio } from "../../../src/transport/stdio.ts";

const stream = openStdio();
let second = "";
try {
  openStdio();
} catch (error) {
  second = (error as Error).message;
}
stream.write(new TextEncoder().encode(`${second}\n`));
stream.attach({
  onData(bytes) {
    const text = new TextDecoder().decode(bytes);
    stream.write(new TextEncoder().encode(text.toUpperCase()));
    // More than a pipe holds: a reader who stops must not stop this process.
    if (text.includes("flood")) {
      stream.write(new Uint8Array(1 << 22).fill(0x2e));
      process.stderr.write("still alive\n");
    }
    if (text.includes("bye")) stream.close();
  },
  onEnd: () => process.stderr.write("told of the end\n"),
  onClose: () => process.stderr.write("closed\n"),
});
process.stdin.once("end", () => stream.write(new TextEncoder().encode("after the end\n")));
