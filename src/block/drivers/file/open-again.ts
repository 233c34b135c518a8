// A second open file on an image that is open: for another use of it, or for locks of its own.

import { close, constants, fstat, open } from "node:fs";
import { promisify } from "node:util";
import { BlockError } from "../../../base/errors.ts";
import { errorCode } from "./file-io.ts";

const openFile = promisify(open);
const fstatFile = promisify(fstat);
const closeFile = promisify(close);

/**
 * Opens the file behind `fd` again, for reading only or for writing as well. Whatever stands at `path` by now, it is the same file.
 * Throws a `BlockError` that begins with `what`.
 */
export async function openAgain(path: string, fd: number, readOnly: boolean, what: string): Promise<number> {
  const again = await openEitherWay(path, fd, readOnly, what);
  try {
    const [before, now] = await Promise.all([fd, again].map((one) => fstatFile(one, { bigint: true })));
    if (before!.dev !== now!.dev || before!.ino !== now!.ino)
      throw new BlockError("EINVAL", `${what}: another file has taken its place`);
  } catch (error) {
    await closeFile(again);
    throw BlockError.from(error, what);
  }
  return again;
}

async function openEitherWay(path: string, fd: number, readOnly: boolean, what: string): Promise<number> {
  const flags = readOnly ? constants.O_RDONLY : constants.O_RDWR;
  try {
    return await openFile(`/proc/self/fd/${fd}`, flags);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw BlockError.from(error, what);
  }
  try {
    return await openFile(path, flags | constants.O_NONBLOCK);
  } catch (error) {
    throw BlockError.from(error, what);
  }
}
