// An open image for another use: read-only, or for writing again.

import { close, fstat } from "node:fs";
import { promisify } from "node:util";
import type { Clock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import type { PreparedReopen } from "../../driver.ts";
import { type PreviousLock, replaceLock } from "./image-lock.ts";
import { openAgain } from "./open-again.ts";

const fstatFile = promisify(fstat);
const closeFile = promisify(close);

/** An open file on an image, and the lock that it has. */
export type OpenedImage = PreviousLock;

/** What stands in the way of writing to an image for good, and not only now. */
export const NOT_WRITABLE: readonly string[] = ["EACCES", "EPERM", "EROFS"];

/** Where the driver keeps its open file. */
export interface ImageHolder {
  readonly path: string;
  readonly image: OpenedImage;
  use(image: OpenedImage): void;
}

/**
 * Makes ready what `PreparedReopen` says, for a driver that is to be read-only or not. `orReadOnly`: if the image cannot be
 * written to it stays read-only, and that is no error.
 */
export async function prepareImageReopen(
  holder: ImageHolder,
  wish: { readonly readOnly: boolean; readonly orReadOnly: boolean },
  options: { perl: string; clock: Clock },
): Promise<PreparedReopen> {
  const before = holder.image;
  let after: OpenedImage;
  try {
    after = await reopenImage(holder.path, before, wish.readOnly, options);
  } catch (error) {
    if (!wish.orReadOnly || !(error instanceof BlockError && NOT_WRITABLE.includes(error.errno))) throw error;
    return { readOnly: true, commit() {}, async finish() {}, async abort() {} };
  }
  return {
    readOnly: wish.readOnly,
    commit: () => holder.use(after),
    finish: () => closeFile(before.fd),
    abort: async () => {
      const { dev, ino } = await fstatFile(before.fd, { bigint: true });
      const lock = await replaceLock({ path: holder.path, dev, ino, ...before }, after, options);
      holder.use({ ...before, lock });
      await closeFile(after.fd);
    },
  };
}

/**
 * Opens the file behind `previous.fd` a second time and gives it the lock. Whatever stands at `path` by now, it is the same
 * file. Throws a `BlockError`; the first one then has its lock as before.
 */
async function reopenImage(
  path: string,
  previous: PreviousLock,
  readOnly: boolean,
  options: { perl: string; clock: Clock },
): Promise<OpenedImage> {
  const what = `Could not reopen '${path}'`;
  const fd = await openAgain(path, previous.fd, readOnly, what);
  try {
    const { dev, ino } = await fstatFile(fd, { bigint: true });
    const lock = await replaceLock({ path, fd, dev, ino, readOnly }, previous, options);
    return { fd, readOnly, lock };
  } catch (error) {
    await closeFile(fd);
    throw BlockError.from(error, what);
  }
}
