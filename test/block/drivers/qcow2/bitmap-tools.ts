// What Debian's programs say of the bitmaps in an image.
import { spawnSync } from "node:child_process";
import type { BlockNode } from "../../../../src/block/node.ts";
import type { ImageFolder } from "./qcow2-images.ts";

/** Where images are, and how programs are run there. */
type ToolFolder = Pick<ImageFolder, "path" | "run">;

/** As `qemu-img info` shows them. */
export interface ShownBitmap {
  readonly name: string;
  readonly granularity: number;
  readonly flags: readonly string[];
}

export function shownBitmaps(folder: ToolFolder, name: string): readonly ShownBitmap[] {
  const info = JSON.parse(folder.run("qemu-img", "info", "--output=json", name)) as {
    "format-specific": { data: { bitmaps?: ShownBitmap[] } };
  };
  return info["format-specific"].data.bitmaps ?? [];
}

/** SHA-256 of the bits as qemu-storage-daemon reads them, and how many bytes are dirty. */
export function hashesByQemu(folder: ToolFolder, image: string): Record<string, string> {
  const names = shownBitmaps(folder, image).map(({ name }) => name);
  const commands = [
    { execute: "qmp_capabilities" },
    ...names.map((name) => ({
      execute: "x-debug-block-dirty-bitmap-sha256",
      arguments: { node: "q", name },
      id: name,
    })),
    { execute: "quit" },
  ];
  const { stdout, stderr } = spawnSync(
    "qemu-storage-daemon",
    [
      ...["--chardev", "stdio,id=c", "--monitor", "chardev=c"],
      ...["--blockdev", `qcow2,node-name=q,read-only=on,file.driver=file,file.filename=${image}`],
    ],
    { cwd: folder.path, encoding: "utf8", input: commands.map((command) => JSON.stringify(command)).join("\n") },
  );
  const hashes: Record<string, string> = {};
  for (const line of stdout.split("\n").filter((text) => text.trim() !== "")) {
    const { id, return: result } = JSON.parse(line) as { id?: string; return?: { sha256?: string } };
    if (id !== undefined && result?.sha256 !== undefined) hashes[id] = result.sha256;
  }
  if (Object.keys(hashes).length !== names.length) throw new Error(`${stdout}${stderr}`);
  return hashes;
}

export async function hashesOf(node: BlockNode): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const { name, bits } of node.bitmaps) hashes[name!] = await bits.sha256();
  return hashes;
}

/** Dirty extents of one bitmap, as a client of qemu-nbd sees them. */
export function dirtyExtents(folder: ToolFolder, image: string, bitmap: string): [offset: number, length: number][] {
  const command = `qemu-nbd -r -f qcow2 -B '${bitmap}' ${image}`;
  const { stdout, stderr, status } = spawnSync(
    "nbdinfo",
    [
      `--map=qemu:dirty-bitmap:${bitmap}`,
      "--json",
      "--",
      "[",
      ...command.split(" ").map((word) => word.replaceAll("'", "")),
      "]",
    ],
    { cwd: folder.path, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
  return (JSON.parse(stdout) as { offset: number; length: number; type: number }[])
    .filter(({ type }) => type === 1)
    .map(({ offset, length }) => [offset, length]);
}
