// Opens and makes image files from options: docs/reference/monitor.md §6.

import { Pacer, systemClock } from "../../../base/clock.ts";
import { BlockError, QmpError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { BlockdevCreateOptions, BlockdevOptions, DriverOpener, OpenContext } from "../../graph-options.ts";
import { PLAIN_IMAGE } from "../../image-file.ts";
import { createImageFile, FileDriver, type FileDriverOptions, type FileDriverSeams } from "./file-driver.ts";
import { MAX_LENGTH_BYTES } from "./open-image.ts";
import { NOT_WRITABLE } from "./reopen-image.ts";

/** QMP's options of `file`, and `x-io` of our own. */
export interface FileNodeOptions extends BlockdevOptions {
  readonly filename: string;
  readonly locking?: "auto" | "on" | "off";
  /** Taken as QEMU's clients give it; what it says is `x-io`'s to say here. */
  readonly aio?: "threads" | "native" | "io_uring";
  readonly "x-io"?: "auto" | "threads";
}

/** QMP's BlockdevCreateOptionsFile. */
export interface FileCreateOptions extends BlockdevCreateOptions {
  readonly driver: "file";
  readonly filename: string;
  readonly size: number;
  /** `full` writes the zeroes, and so does `falloc`: Node cannot allocate without. */
  readonly preallocation?: "off" | "falloc" | "full";
  /** Means nothing here. */
  readonly nocow?: boolean;
}

/** The opener of `file`; `seams` are for tests. */
export function fileOpener(seams: FileDriverSeams = {}): DriverOpener {
  return {
    driver: "file",
    children: [],
    image: PLAIN_IMAGE,
    reopen: { changeable: [] },
    open: (context) => openFile(context, seams),
    create: (options) => createFile(options as FileCreateOptions, seams),
  };
}

async function openFile(context: OpenContext, seams: FileDriverSeams): Promise<FileDriver> {
  const options = context.options as FileNodeOptions;
  const { readOnly, autoReadOnly, forceShare, cacheDirect } = context.settings;
  if (options.filename === "") throw new QmpError("The 'file' block driver requires a file name");
  if (options.aio === "native" && !cacheDirect)
    throw new QmpError("aio=native was specified, but it requires cache.direct=on, which was not specified.");
  const { filename: path, "x-io": xIo = "auto", locking = "auto" } = options;
  const file: FileDriverOptions = { path, readOnly, xIo, locking: forceShare ? "off" : locking, lockAsUsed: true };
  try {
    return await FileDriver.open(file, seams);
  } catch (error) {
    const fallsBack = autoReadOnly && !readOnly && error instanceof BlockError && NOT_WRITABLE.includes(error.errno);
    if (!fallsBack) throw error;
    return FileDriver.open({ ...file, readOnly: true }, seams);
  }
}

async function createFile(options: FileCreateOptions, seams: FileDriverSeams): Promise<void> {
  const { filename: path, size, preallocation = "off" } = options;
  if (size < 0) throw new QmpError("Could not resize file: Invalid argument");
  if (size > MAX_LENGTH_BYTES) throw new QmpError("Could not resize file: File too large");
  if (preallocation === "off") return createImageFile({ path, lengthBytes: size }, seams);
  const driver = await FileDriver.create({ path, lengthBytes: size }, seams);
  try {
    await writeOut(driver, size, new Pacer(seams.clock ?? systemClock));
    await driver.flush();
  } finally {
    await driver.close();
  }
}

const PIECE = new Uint8Array(1 << 20);

/** Writes the zeroes that the file already reads as, so that they have their place on the disk. */
async function writeOut(driver: FileDriver, lengthBytes: number, pacer: Pacer): Promise<void> {
  for (let at = 0; at < lengthBytes; at += PIECE.length) {
    await driver.write(at, IoVector.of(PIECE, 0, Math.min(PIECE.length, lengthBytes - at)));
    if (pacer.step()) await pacer.yield();
  }
}
