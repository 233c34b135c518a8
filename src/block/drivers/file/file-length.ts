// The length of an open image file, changed within the call or on libuv's pool.

import { assert } from "../../../base/assert.ts";
import { BlockError } from "../../../base/errors.ts";
import type { FileIo } from "./file-io.ts";
import { MAX_LENGTH_BYTES, truncate } from "./open-image.ts";
import type { StableStorage } from "./stable-storage.ts";

/** A file whose length is to change, and where its changes are counted. */
export interface ResizableFile {
  readonly io: FileIo;
  readonly fd: number;
  readonly path: string;
  readonly storage: StableStorage;
}

/** Sets the length within the call: to make a file longer takes 5 µs. Fails as `BlockError` with QEMU's text. */
export function setLength(file: ResizableFile, lengthBytes: number): void {
  checkLength(file, lengthBytes);
  try {
    file.io.ftruncateSync(file.fd, lengthBytes);
  } catch (error) {
    throw failure(file, error);
  } finally {
    file.storage.changes++;
  }
}

/** As `setLength`, on the pool: what is cut off may be much to free. */
export async function setLengthLater(file: ResizableFile, lengthBytes: number): Promise<void> {
  checkLength(file, lengthBytes);
  try {
    await truncate(file.io, file.fd, lengthBytes);
  } catch (error) {
    throw failure(file, error);
  } finally {
    file.storage.changes++;
  }
}

function checkLength({ path }: ResizableFile, lengthBytes: number): void {
  assert(Number.isInteger(lengthBytes) && lengthBytes >= 0, "file length: not a length");
  if (lengthBytes > MAX_LENGTH_BYTES) throw new BlockError("EFBIG", `Could not resize '${path}': File too large`);
}

function failure({ path }: ResizableFile, error: unknown): BlockError {
  return BlockError.from(error, `Could not resize '${path}'`);
}
