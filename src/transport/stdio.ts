// The process's own standard input and output as a stream: QEMU's `-chardev stdio`.

import { createWriteStream, fstatSync } from "node:fs";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import { QmpError } from "../base/errors.ts";
import { NodeByteStream } from "./node-byte-stream.ts";

const STDOUT = 1;

let inUse = false;

/**
 * Standard input and output as one stream, for one user at a time: a `QmpError` for the second. The end of the input closes nothing:
 * whoever started the process may still read.
 */
export function openStdio(): NodeByteStream {
  if (inUse) throw new QmpError("cannot use stdio by multiple character devices");
  inUse = true;
  const stream = new NodeByteStream({
    name: "stdio",
    readable: process.stdin,
    writable: openStandardOutput(),
    ignoreEnd: true,
  });
  void stream.closed.then(() => {
    inUse = false;
  });
  return stream;
}

/** `process.stdout` writes to a pipe synchronously: a reader that stops would stop the whole machine. */
function openStandardOutput(): Writable {
  const status = fstatSync(STDOUT);
  if (status.isFIFO() || status.isSocket()) return new Socket({ fd: STDOUT, readable: false, writable: true });
  return createWriteStream("", { fd: STDOUT, autoClose: false });
}
