// System calls that fail, or do part of their work, when a test says so; all others are carried out.
import { type FileIo, type IoCallback, nodeFileIo } from "../../../../../src/block/drivers/file/file-io.ts";

/** One system call that the driver makes. `number` counts from 0. */
export interface IoCall {
  readonly name: "read" | "write" | "fdatasync" | "ftruncate";
  readonly number: number;
  readonly position: number;
  readonly length: number;
  /** Made within the call that asked for it, not on the pool. */
  readonly sync: boolean;
}

/** What becomes of it: carried out; fails with this `code`; moves no more than so many bytes. */
export type Fault = undefined | { readonly code: string } | { readonly atMost: number };

/** Passes every call by `plan`. */
export class FaultyFileIo implements FileIo {
  readonly calls: IoCall[] = [];
  readonly #plan: (call: IoCall) => Fault;

  constructor(plan: (call: IoCall) => Fault = () => undefined) {
    this.#plan = plan;
  }

  readSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number {
    return nodeFileIo.readSync(fd, bytes, offset, this.#syncLength("read", position, length), position);
  }

  writeSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number {
    return nodeFileIo.writeSync(fd, bytes, offset, this.#syncLength("write", position, length), position);
  }

  readvSync(fd: number, views: readonly Uint8Array[], position: number): number {
    return nodeFileIo.readvSync(fd, cut(views, this.#syncLength("read", position, sum(views))), position);
  }

  writevSync(fd: number, views: readonly Uint8Array[], position: number): number {
    return nodeFileIo.writevSync(fd, cut(views, this.#syncLength("write", position, sum(views))), position);
  }

  readv(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void {
    this.#later("read", position, sum(views), done, (length) =>
      nodeFileIo.readv(fd, cut(views, length), position, done),
    );
  }

  writev(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void {
    this.#later("write", position, sum(views), done, (length) =>
      nodeFileIo.writev(fd, cut(views, length), position, done),
    );
  }

  fdatasync(fd: number, done: (error: Error | null) => void): void {
    this.#later("fdatasync", 0, 0, done, () => nodeFileIo.fdatasync(fd, done));
  }

  ftruncate(fd: number, lengthBytes: number, done: (error: Error | null) => void): void {
    this.#later("ftruncate", lengthBytes, 0, done, () => nodeFileIo.ftruncate(fd, lengthBytes, done));
  }

  ftruncateSync(fd: number, lengthBytes: number): void {
    this.#syncLength("ftruncate", lengthBytes, 0);
    nodeFileIo.ftruncateSync(fd, lengthBytes);
  }

  #fault(name: IoCall["name"], position: number, length: number, sync: boolean): Fault {
    const call = { name, number: this.calls.length, position, length, sync };
    this.calls.push(call);
    return this.#plan(call);
  }

  #syncLength(name: IoCall["name"], position: number, length: number): number {
    const fault = this.#fault(name, position, length, true);
    if (fault === undefined) return length;
    if ("code" in fault) throw systemError(fault.code);
    return Math.min(fault.atMost, length);
  }

  #later(
    name: IoCall["name"],
    position: number,
    length: number,
    done: IoCallback,
    call: (length: number) => void,
  ): void {
    const fault = this.#fault(name, position, length, false);
    if (fault === undefined) call(length);
    else if ("code" in fault) setImmediate(() => done(systemError(fault.code), 0));
    else if (fault.atMost === 0) setImmediate(() => done(null, 0));
    else call(Math.min(fault.atMost, length));
  }
}

/** As Node reports a failed system call. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code });
}

function sum(views: readonly Uint8Array[]): number {
  return views.reduce((total, view) => total + view.length, 0);
}

function cut(views: readonly Uint8Array[], length: number): Uint8Array[] {
  const result: Uint8Array[] = [];
  for (const view of views) {
    result.push(view.subarray(0, Math.max(0, length)));
    length -= view.length;
  }
  return result;
}
