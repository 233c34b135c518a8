// Image files of the qcow2 model test in a folder, and Debian's own programs on them, several at once.

import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MemoryFiles } from "./memory-files.ts";

/** How a program ended. */
export interface ToolResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_OUTPUT = 64 << 20;

export class ToolFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), "vblk-programs-"));

  /** Fails where the program does. */
  run(tool: string, ...args: string[]): string {
    return execFileSync(tool, args, { cwd: this.path, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  /** Several may run at once. */
  start(tool: string, ...args: string[]): Promise<ToolResult> {
    return new Promise((resolve) => {
      execFile(tool, args, { cwd: this.path, encoding: "utf8", maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ status, stdout, stderr });
      });
    });
  }

  write(name: string, bytes: Uint8Array): void {
    writeFileSync(join(this.path, name), bytes);
  }

  read(name: string): Uint8Array {
    // Not a Buffer, whose slices are no copies.
    return new Uint8Array(readFileSync(join(this.path, name)));
  }

  writeAll(files: MemoryFiles): void {
    for (const name of files.names) this.write(name, files.bytes(name));
  }

  dispose(): void {
    rmSync(this.path, { recursive: true });
  }
}
