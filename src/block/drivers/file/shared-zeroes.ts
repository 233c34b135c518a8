// Zeroes for an image that others may write to: nothing is known of it, so what is zero already is found by reading.

import { IoVector } from "../../../base/io-vector.ts";
import { isZero } from "../../../base/zero.ts";
import type { FileIo } from "./file-io.ts";
import { readVector, writeVector } from "./vector-io.ts";

/** A unit of which all is read, and all written if any of it is not zero. */
const PIECE_BYTES = 1 << 16;
const ZEROES = new Uint8Array(PIECE_BYTES);

/** Makes a range of the file behind `fd` read as zeroes, and leaves alone what does: holes stay holes. Rejects with the system's error. */
export async function zeroByReading(io: FileIo, fd: number, offsetBytes: number, lengthBytes: number): Promise<void> {
  const end = offsetBytes + lengthBytes;
  const found = new Uint8Array(Math.min(PIECE_BYTES, lengthBytes));
  for (let at = offsetBytes; at < end; ) {
    const step = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at);
    await readVector(io, fd, IoVector.of(found, 0, step), at);
    if (!isZero(found, 0, step)) await writeVector(io, fd, IoVector.of(ZEROES, 0, step), at);
    at += step;
  }
}
