// The system calls that a file driver makes on an open image, as a seam: tests put failing and recording ones in their place.

import {
  fdatasync,
  ftruncate,
  ftruncateSync,
  readSync,
  readv,
  readvSync,
  writeSync,
  writev,
  writevSync,
} from "node:fs";

/** Called once with the error, or with what the call gives. */
export type IoCallback = (error: Error | null, count: number) => void;

/**
 * As the functions of the same names in `node:fs`: calls move fewer bytes than asked for when they please, and fail with an
 * `Error` whose `code` is an errno name. Positions, offsets and lengths are bytes.
 */
export interface FileIo {
  readSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
  writeSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
  readvSync(fd: number, views: readonly Uint8Array[], position: number): number;
  writevSync(fd: number, views: readonly Uint8Array[], position: number): number;
  readv(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void;
  writev(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void;
  fdatasync(fd: number, done: (error: Error | null) => void): void;
  ftruncate(fd: number, lengthBytes: number, done: (error: Error | null) => void): void;
  ftruncateSync(fd: number, lengthBytes: number): void;
}

/** The operating system's own. */
export const nodeFileIo: FileIo = {
  readSync,
  writeSync,
  readvSync,
  writevSync,
  readv,
  writev,
  fdatasync,
  ftruncate,
  ftruncateSync,
};

/** True for errors that say nothing about the request: it is made again. */
export function isTransient(error: unknown): boolean {
  const code = errorCode(error);
  return code === "EINTR" || code === "EAGAIN";
}

/** The errno name that the operating system gave, or "". */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
