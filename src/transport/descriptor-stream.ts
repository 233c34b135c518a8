// An inherited file descriptor as a stream: QEMU's `fd:N`.

import { createReadStream, createWriteStream, fstatSync, type Stats } from "node:fs";
import { Socket } from "node:net";
import { Writable } from "node:stream";
import { BlockError, QmpError } from "../base/errors.ts";
import { silent } from "./exec-stream.ts";
import { NodeByteStream } from "./node-byte-stream.ts";

export interface DescriptorStream {
  readonly stream: NodeByteStream;
  readonly isSocket: boolean;
}

/** A socket is read and written; a pipe or a file in one direction. A `QmpError` as of `checkDescriptor`. */
export function openDescriptor(descriptor: string, direction: "read" | "write"): DescriptorStream {
  const status = checkDescriptor(descriptor);
  const fd = Number(descriptor);
  const name = `fd:${fd}`;
  if (status.isSocket()) {
    const socket = new Socket({ fd, allowHalfOpen: true });
    return { stream: new NodeByteStream({ name, readable: socket, writable: socket }), isSocket: true };
  }
  const isPipe = status.isFIFO();
  if (direction === "write") {
    const writable = isPipe ? new Socket({ fd, readable: false, writable: true }) : createWriteStream("", { fd });
    return { stream: new NodeByteStream({ name, readable: silent(), writable, ignoreEnd: true }), isSocket: false };
  }
  const readable = isPipe ? new Socket({ fd, readable: true, writable: false }) : createReadStream("", { fd });
  const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
  return { stream: new NodeByteStream({ name, readable, writable: sink }), isSocket: false };
}

/** What a descriptor is of. A `QmpError` with QEMU's text where there is no such descriptor. */
export function checkDescriptor(descriptor: string): Stats {
  if (!/^\d{1,9}$/.test(descriptor)) throw notFound(descriptor);
  try {
    return fstatSync(Number(descriptor));
  } catch (error) {
    if (BlockError.from(error, "").errno === "EBADF") throw notFound(descriptor);
    throw error;
  }
}

function notFound(descriptor: string): QmpError {
  return new QmpError(`File descriptor named '${descriptor}' has not been found`);
}
