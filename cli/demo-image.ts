// A disk image made of real files: a tar archive written to a raw image, so that `tar -tf` lists the disk.

import { mkdirSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { create } from "tar";
import { IoVector } from "../src/base/io-vector.ts";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { CommandError } from "./exit.ts";

/** Small enough to be made at once, large enough for a backup that can be watched. */
const MIN_IMAGE_BYTES = 64 << 20;
const ALIGNMENT_BYTES = 1 << 20;
/** Never worth archiving, and often huge. */
const LEFT_OUT = new Set([".git", "node_modules", "dist", "coverage", ".cache"]);

export interface DemoImage {
  readonly sizeBytes: number;
  /** Files and folders in the archive. */
  readonly entries: number;
}

/**
 * Writes the files below `directory` to `path`, an image of 64 MiB or as much as it takes, its end zeroes. What the image held
 * is gone; one that somebody uses is refused and left alone. Leaves out version control, packages, build results and the folder
 * of the image itself.
 */
export async function makeDemoImage(directory: string, path: string): Promise<DemoImage> {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true });
  const names = readdirSync(directory).filter((name) => !LEFT_OUT.has(name) && name !== folder);
  if (names.length === 0) throw new CommandError(`'${directory}' holds nothing to make an image of`);
  let entries = 0;
  const filter = (name: string): boolean => {
    const wanted = !name.split("/").some((part) => LEFT_OUT.has(part));
    if (wanted) entries++;
    return wanted;
  };
  const driver = await FileDriver.create({ path, lengthBytes: MIN_IMAGE_BYTES });
  try {
    let sizeBytes = 0;
    for await (const chunk of create({ cwd: directory, portable: true, filter }, names)) {
      if (sizeBytes + chunk.length > driver.lengthBytes) {
        await driver.resize(Math.ceil((sizeBytes + chunk.length) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES);
      }
      await driver.write(sizeBytes, IoVector.of(chunk));
      sizeBytes += chunk.length;
    }
    await driver.flush();
    return { sizeBytes: driver.lengthBytes, entries };
  } finally {
    await driver.close();
  }
}
