// Error numbers of Linux, by which users name errors to inject.

import type { Errno } from "../../base/errors.ts";

const NAMES: Readonly<Record<number, Errno>> = {
  1: "EPERM",
  2: "ENOENT",
  5: "EIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  26: "ETXTBSY",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  36: "ENAMETOOLONG",
  40: "ELOOP",
  75: "EOVERFLOW",
  95: "ENOTSUP",
  110: "ETIMEDOUT",
  122: "EDQUOT",
  123: "ENOMEDIUM",
  125: "ECANCELED",
};

/** The name of an error number, EIO for one that we have no name for. Undefined where the number says that there is no error. */
export function errnoOfNumber(number: number): Errno | undefined {
  return number <= 0 ? undefined : (NAMES[number] ?? "EIO");
}
