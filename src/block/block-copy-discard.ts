// What discard-source does with what was copied: docs/reference/backup.md §2.1.

import { BlockError } from "../base/errors.ts";
import type { BlockCopy } from "./block-copy.ts";

/**
 * Tells the source to forget a range that is on the target, while the range is still a task's: a guest's write to it comes after
 * that, or it would be lost. Others who intercept the source are asked: one that has still to copy the range keeps it. A discard
 * promises nothing, so an error is none of the copy's.
 */
export function discardCopied(copy: BlockCopy, offsetBytes: number, lengthBytes: number): void | Promise<void> {
  let pending: void | Promise<void>;
  try {
    pending = copy.source.discard(offsetBytes, lengthBytes, { maker: copy.notifier });
  } catch (error) {
    return passErrors(error);
  }
  return pending?.catch(passErrors);
}

function passErrors(error: unknown): void {
  if (!(error instanceof BlockError)) throw error;
}
