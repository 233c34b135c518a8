// Requests as qemu-io sends them: refused before they are made where the disk has no such range.

import { BlockError } from "../../base/errors.ts";
import type { BlockBackend } from "../../block/backend.ts";

/** Throws EIO for what does not lie within the disk: such numbers may be too large to be exact. */
export function checkRange(backend: BlockBackend, offsetBytes: number, lengthBytes: number): void {
  if (backend.root === undefined) throw new BlockError("ENOMEDIUM");
  if (lengthBytes > backend.lengthBytes - offsetBytes) throw new BlockError("EIO");
}
