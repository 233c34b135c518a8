// A shell command as one end of a stream: QEMU's `exec:COMMAND`.

import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { BlockError } from "../base/errors.ts";
import { NodeByteStream } from "./node-byte-stream.ts";

/**
 * Runs a command. `write`: what is written is its standard input, and `end` resolves when it has exited, with 0 or
 * else the stream breaks; `read`: its standard output is
 * what arrives, and what is written is dropped. Closing ends it.
 */
export function openCommand(command: string, direction: "read" | "write"): NodeByteStream {
  const child = spawn("/bin/sh", ["-c", command], {
    stdio: [direction === "write" ? "pipe" : "ignore", direction === "read" ? "pipe" : "ignore", "inherit"],
  });
  const name = `exec:${command}`;
  let exited = false;
  /** Resolves with true where the command says that it has done what it was to do. */
  const exit = new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false));
    child.once("close", (code) => {
      exited = true;
      resolve(code === 0);
    });
  });
  const kill = (): void => {
    if (!exited) child.kill();
  };
  if (direction === "read") {
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    const stream = new NodeByteStream({ name, readable: child.stdout!, writable: sink });
    void stream.closed.then(kill);
    return stream;
  }
  const input = child.stdin!;
  const writable = new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      input.write(chunk, (error) => done(error));
    },
    final(done) {
      input.end();
      void exit.then((well) => done(well ? null : new BlockError("EPIPE")));
    },
    destroy(error, done) {
      input.destroy();
      done(error);
    },
  });
  input.on("error", (error) => writable.destroy(error));
  const stream = new NodeByteStream({ name, readable: silent(), writable, ignoreEnd: true });
  void stream.closed.then(kill);
  return stream;
}

/** Says nothing, and does not end. */
export function silent(): Readable {
  return new Readable({ read() {} });
}
