// The errors that cross a part's border. A guest's mistakes are none of them: they never throw (see docs/architecture.md).

import { AssertionError } from "./assert.ts";

/** The C library's texts (glibc), as clients of QEMU see them after `<what failed>: `. */
const ERRNO_TEXTS = {
  EPERM: "Operation not permitted",
  ENOENT: "No such file or directory",
  EIO: "Input/output error",
  EBADF: "Bad file descriptor",
  EAGAIN: "Resource temporarily unavailable",
  ENOMEM: "Cannot allocate memory",
  EACCES: "Permission denied",
  EBUSY: "Device or resource busy",
  EEXIST: "File exists",
  ENODEV: "No such device",
  ENOTDIR: "Not a directory",
  EISDIR: "Is a directory",
  EINVAL: "Invalid argument",
  EMFILE: "Too many open files",
  ENFILE: "Too many open files in system",
  ETXTBSY: "Text file busy",
  EFBIG: "File too large",
  ENOSPC: "No space left on device",
  EROFS: "Read-only file system",
  ELOOP: "Too many levels of symbolic links",
  ENAMETOOLONG: "File name too long",
  ERANGE: "Numerical result out of range",
  EOVERFLOW: "Value too large for defined data type",
  ENOTSUP: "Operation not supported",
  ENOMEDIUM: "No medium found",
  EDQUOT: "Disk quota exceeded",
  EPIPE: "Broken pipe",
  ENOTSOCK: "Socket operation on non-socket",
  EADDRINUSE: "Address already in use",
  EADDRNOTAVAIL: "Cannot assign requested address",
  ENETUNREACH: "Network is unreachable",
  ECONNRESET: "Connection reset by peer",
  ECONNREFUSED: "Connection refused",
  EHOSTUNREACH: "No route to host",
  ETIMEDOUT: "Connection timed out",
  ECANCELED: "Operation canceled",
} as const;

/** The name of an error number, as POSIX spells it. */
export type Errno = keyof typeof ERRNO_TEXTS;

/** The text of glibc's strerror() for `errno`. */
export function strerror(errno: Errno): string {
  return ERRNO_TEXTS[errno];
}

/** An I/O request or a block layer operation failed. `errno` says how; the message names the thing that failed. */
export class BlockError extends Error {
  override readonly name: string = "BlockError";
  readonly errno: Errno;
  /** What a person may do about it. QEMU prints such a line below the error and leaves it out of QMP's `desc`. */
  readonly hint: string | undefined;

  constructor(errno: Errno, message?: string, options?: ErrorOptions & { hint?: string }) {
    super(message ?? strerror(errno), options);
    this.errno = errno;
    this.hint = options?.hint;
  }

  /** What the operating system reported, as a `BlockError`; any error number that we do not know counts as EIO. */
  static from(error: unknown, what: string): BlockError {
    if (error instanceof BlockError) return error;
    if (error instanceof AssertionError) throw error; // a mistake of ours is no I/O error
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const errno: Errno = Object.hasOwn(ERRNO_TEXTS, code) ? (code as Errno) : "EIO";
    return new BlockError(errno, `${what}: ${strerror(errno)}`, { cause: error });
  }
}

/** The classes of QMP's errors. */
export type QmpErrorClass = "GenericError" | "CommandNotFound" | "DeviceNotActive" | "DeviceNotFound" | "KVMMissingCap";

/** A user asked for something that cannot be done. Class and text are QEMU's where QEMU has the case: clients match on them. */
export class QmpError extends Error {
  override readonly name: string = "QmpError";
  readonly errorClass: QmpErrorClass;
  /** As of a `BlockError`. */
  readonly hint: string | undefined;

  constructor(
    message: string,
    errorClass: QmpErrorClass = "GenericError",
    options?: ErrorOptions & { hint?: string | undefined },
  ) {
    super(message, options);
    this.errorClass = errorClass;
    this.hint = options?.hint;
  }
}
