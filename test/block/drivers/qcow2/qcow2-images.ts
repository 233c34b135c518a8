// Images in files of a folder of their own, opened by this program and by qemu-img.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockBackend } from "../../../../src/block/backend.ts";
import { fileOpener } from "../../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../../../src/block/drivers/memory-openers.ts";
import { qcow2Opener } from "../../../../src/block/drivers/qcow2/opener.ts";
import { rawOpener } from "../../../../src/block/drivers/raw-opener.ts";
import { blkdebugOpenerWith } from "../../../../src/block/filters/blkdebug-opener.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";
import type { BlockdevOptions } from "../../../../src/block/graph-options.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE } from "../../../../src/block/permissions.ts";

export class ImageFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), "vblk-qcow2-"));
  readonly graph: BlockGraph = new BlockGraph({
    drivers: [
      fileOpener(),
      rawOpener,
      memoryOpener,
      nullOpener,
      qcow2Opener,
      blkdebugOpenerWith({ readConfig: () => Promise.reject(new Error("no configuration here")) }),
    ],
  });
  readonly #backends: BlockBackend[] = [];

  file(name: string): string {
    return join(this.path, name);
  }

  /** `qemu-img create -f qcow2`, by this program. */
  async create(name: string, options: BlockdevOptions | object): Promise<void> {
    const filename = this.file(name);
    await this.graph.create({ driver: "file", filename, size: 0 });
    await this.graph.create({ driver: "qcow2", file: { driver: "file", filename }, ...options } as BlockdevOptions);
  }

  async open(name: string, options: object = {}): Promise<BlockNode> {
    const node = await this.graph.open({
      driver: "qcow2",
      file: { driver: "file", filename: this.file(name) },
      discard: "unmap",
      ...options,
    } as BlockdevOptions);
    const needs = node.readOnly ? PERM_CONSISTENT_READ : PERM_CONSISTENT_READ | PERM_WRITE;
    this.#backends.push(new BlockBackend({ name: "", node, permissions: { needs, shares: PERM_ALL } }));
    return node;
  }

  async close(node: BlockNode): Promise<void> {
    for (const backend of this.#backends.filter(({ root }) => root === node)) {
      this.#backends.splice(this.#backends.indexOf(backend), 1);
      backend.close();
    }
    await this.graph.release(node);
  }

  async dispose(): Promise<void> {
    for (const backend of this.#backends.splice(0)) backend.close();
    for (const { node } of [...this.graph.nodes]) if (node.parentCount === 0) await this.graph.release(node);
    await this.graph.close();
    rmSync(this.path, { recursive: true });
  }

  /** The standard output of a tool that is run in the folder. */
  run(tool: string, ...args: string[]): string {
    return execFileSync(tool, args, { cwd: this.path, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  /** What `qemu-img check` finds: nothing but its first line if all is well. */
  check(name: string): string {
    const { stdout, stderr, status } = spawnSync("qemu-img", ["check", name], { cwd: this.path, encoding: "utf8" });
    return status === 0 ? stdout.split("\n")[0]! : `${status}: ${stdout}${stderr}`;
  }
}

export const CLEAN = "No errors were found on the image.";
