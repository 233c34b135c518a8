// A whole vector to or from a file, however little of it each system call moves.

import { systemClock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { fillZeroes, IoVector } from "../../../base/io-vector.ts";
import { type FileIo, type IoCallback, isTransient } from "./file-io.ts";

/** IOV_MAX of Linux and the BSDs: a longer list is an error to some systems and cut off by others. */
const MAX_VIEWS = 1024;
/** Calls in a row that a signal or a busy file may bring to nothing before the request fails. */
const MAX_FRUITLESS_CALLS = 64;
/** What a request on the pool may hold of its own, for a vector that may be taken from it. */
const MAX_BUFFER_BYTES = 1 << 20;

/**
 * Fills `vector` from `position` of the file on, of which the first `done` bytes are there already. What lies beyond the
 * end of the file reads as zeroes. Throws the system's error.
 */
export function readVectorSync(io: FileIo, fd: number, vector: IoVector, position: number, done: number): void {
  let fruitless = 0;
  while (done < vector.byteLength) {
    let count: number;
    try {
      count = io.readvSync(fd, viewsFrom(vector, done), position + done);
    } catch (error) {
      if (!isTransient(error) || ++fruitless >= MAX_FRUITLESS_CALLS) throw error;
      continue;
    }
    if (count === 0) return clearFrom(vector, done);
    done += count;
    fruitless = 0;
  }
}

/** Writes `vector` to `position` of the file on, of which the first `done` bytes are there already. Throws the system's error. */
export function writeVectorSync(io: FileIo, fd: number, vector: IoVector, position: number, done: number): void {
  let fruitless = 0;
  while (done < vector.byteLength) {
    let count: number;
    try {
      count = io.writevSync(fd, viewsFrom(vector, done), position + done);
    } catch (error) {
      if (!isTransient(error) || ++fruitless >= MAX_FRUITLESS_CALLS) throw error;
      continue;
    }
    if (count === 0) throw wroteNothing();
    done += count;
    fruitless = 0;
  }
}

/**
 * `readVectorSync` on libuv's pool. A revocable vector is filled from a buffer of ours, on this thread: by the time the data
 * come, its bytes may be somebody else's.
 */
export async function readVector(io: FileIo, fd: number, vector: IoVector, position: number): Promise<void> {
  if (!vector.revocable) return readOnPool(io, fd, vector, position);
  const piece = new IoVector(vector.bytes);
  const buffer = new Uint8Array(Math.min(vector.byteLength, MAX_BUFFER_BYTES));
  for (let done = 0; done < vector.byteLength && !vector.abandoned; done += buffer.length) {
    const length = Math.min(buffer.length, vector.byteLength - done);
    await readOnPool(io, fd, IoVector.of(buffer, 0, length), position + done);
    piece.slice(vector, done, length).copyFrom(buffer, 0);
  }
}

/** `writeVectorSync` on libuv's pool; what was to come from a revocable vector is not written once it is abandoned. */
export async function writeVector(io: FileIo, fd: number, vector: IoVector, position: number): Promise<void> {
  if (!vector.revocable) return writeOnPool(io, fd, vector, position);
  const piece = new IoVector(vector.bytes);
  const buffer = new Uint8Array(Math.min(vector.byteLength, MAX_BUFFER_BYTES));
  for (let done = 0; done < vector.byteLength; done += buffer.length) {
    if (vector.abandoned) throw new BlockError("ECANCELED");
    const length = Math.min(buffer.length, vector.byteLength - done);
    piece.slice(vector, done, length).copyTo(buffer, 0);
    await writeOnPool(io, fd, IoVector.of(buffer, 0, length), position + done);
  }
}

async function readOnPool(io: FileIo, fd: number, vector: IoVector, position: number): Promise<void> {
  let fruitless = 0;
  for (let done = 0; done < vector.byteLength; ) {
    let count: number;
    try {
      const views = viewsFrom(vector, done);
      count = await onPool((callback) => io.readv(fd, views, position + done, callback));
    } catch (error) {
      if (!isTransient(error) || ++fruitless >= MAX_FRUITLESS_CALLS) throw error;
      await systemClock.yield();
      continue;
    }
    if (count === 0) return clearFrom(vector, done);
    done += count;
    fruitless = 0;
  }
}

async function writeOnPool(io: FileIo, fd: number, vector: IoVector, position: number): Promise<void> {
  let fruitless = 0;
  for (let done = 0; done < vector.byteLength; ) {
    let count: number;
    try {
      const views = viewsFrom(vector, done);
      count = await onPool((callback) => io.writev(fd, views, position + done, callback));
    } catch (error) {
      if (!isTransient(error) || ++fruitless >= MAX_FRUITLESS_CALLS) throw error;
      await systemClock.yield();
      continue;
    }
    if (count === 0) throw wroteNothing();
    done += count;
    fruitless = 0;
  }
}

function onPool(call: (callback: IoCallback) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    call((error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** POSIX lets write() take nothing without an error. Asked again it may do so for ever; the one known cause is a full disk. */
function wroteNothing(): BlockError {
  return new BlockError("ENOSPC");
}

/**
 * The segments after the first `skip` bytes, at most `MAX_VIEWS` of them. Views cost 10 to 27 ns each, a system call of its
 * own for a segment 650 ns and more: for two segments of 4 KiB one readv took 1.46 µs, two reads 1.86 µs (Node 20).
 */
function viewsFrom(vector: IoVector, skip: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let i = vector.first; i < vector.end && views.length < MAX_VIEWS; i++) {
    const offset = vector.offsets[i]!;
    const length = vector.lengths[i]!;
    if (skip >= length) skip -= length;
    else {
      views.push(vector.bytes.subarray(offset + skip, offset + length));
      skip = 0;
    }
  }
  return views;
}

/** Zeroes what comes after the first `skip` bytes. */
function clearFrom(vector: IoVector, skip: number): void {
  for (let i = vector.first; i < vector.end; i++) {
    const length = vector.lengths[i]!;
    if (skip >= length) skip -= length;
    else {
      fillZeroes(vector.bytes, vector.offsets[i]! + skip, length - skip);
      skip = 0;
    }
  }
}
