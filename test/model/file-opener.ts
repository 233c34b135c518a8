// Image files of the model test, for drive-backup: a driver named `file` over files that are kept in memory.

import { BlockError } from "../../src/base/errors.ts";
import type { DriverOpener } from "../../src/block/graph-options.ts";
import { PLAIN_IMAGE } from "../../src/block/image-file.ts";
import type { FaultyDriver } from "../support/faulty-driver.ts";

/** One that is open is locked: it can neither be opened again nor made anew. `driver` is made of what is in a file. */
export function fileOpener(driver: (filename: string, bytes: Uint8Array) => FaultyDriver): DriverOpener {
  const files = new Map<string, Uint8Array>();
  const open = new Map<string, FaultyDriver>();
  const refuseOpen = (filename: string): void => {
    const locked = open.get(filename);
    if (locked?.closed === false) throw new BlockError("EAGAIN", `Failed to lock '${filename}'`);
    // What it was resized to stays.
    if (locked !== undefined) files.set(filename, locked.bytes);
  };
  return {
    driver: "file",
    children: [],
    image: PLAIN_IMAGE,
    async create({ filename, size }) {
      refuseOpen(String(filename));
      open.delete(String(filename));
      files.set(String(filename), new Uint8Array(Number(size)));
    },
    open({ options }) {
      const filename = String(options["filename"]);
      refuseOpen(filename);
      const bytes = files.get(filename);
      if (bytes === undefined) throw new BlockError("ENOENT", `Could not open '${filename}'`);
      const made = driver(filename, bytes);
      open.set(filename, made);
      return made;
    },
  };
}
