// `-pidfile`: a file that says which process the machine is. docs/reference/monitor.md §6.

import { rm, writeFile } from "node:fs/promises";
import { BlockError, QmpError } from "../src/base/errors.ts";

/** Written by `create`, and gone after `remove`. */
export class PidFile {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Throws a `QmpError` with QEMU's text. */
  static async create(path: string): Promise<PidFile> {
    try {
      await writeFile(path, `${process.pid}\n`, { mode: 0o644 });
    } catch (error) {
      throw new QmpError(`cannot create PID file: ${BlockError.from(error, `Could not create '${path}'`).message}`);
    }
    return new PidFile(path);
  }

  /** Also where somebody else has removed it before. */
  remove(): Promise<void> {
    return rm(this.#path, { force: true });
  }
}
