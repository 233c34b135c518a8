// The nodes of a golden scenario: a format node, fault injection where it has any, and memory for the file.
import { IoVector } from "../../src/base/io-vector.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { memoryOpener } from "../../src/block/drivers/memory-openers.ts";
import { qcow2Opener } from "../../src/block/drivers/qcow2/opener.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { BlockdevOptions, DriverOpener } from "../../src/block/graph-options.ts";
import type { GoldenNode } from "./golden-files.ts";

export async function addDriverNodes(graph: BlockGraph, node: GoldenNode): Promise<void> {
  const { name, size, format = "raw", discard = "unmap", blkdebug } = node;
  const isRaw = format === "raw";
  const file: BlockdevOptions = { driver: "memory", "node-name": `${name}-file`, size: isRaw ? size : 0, discard };
  const made = await graph.add(file);
  const content = contentOf(node);
  if (isRaw) await made.write(0, IoVector.of(content));
  else await fillQcow2(graph, node, content);
  if (blkdebug !== undefined) {
    const rules = blkdebug as unknown as BlockdevOptions[];
    const options = { driver: "blkdebug", "node-name": `${name}-dbg`, image: `${name}-file`, "inject-error": rules, discard };
    await graph.add(options as BlockdevOptions);
  }
  await graph.add({
    driver: format,
    "node-name": name,
    file: blkdebug === undefined ? `${name}-file` : `${name}-dbg`,
    discard,
  });
}

/** What the disk holds when a scenario begins. */
export function contentOf({ size, fill = 0, init = [] }: GoldenNode): Uint8Array {
  const content = new Uint8Array(size).fill(fill);
  for (const [offset, length, byte] of init) content.fill(byte, offset, offset + length);
  return content;
}

/** The file that holds the disk when a scenario begins. */
export async function imageOf(node: GoldenNode): Promise<Uint8Array> {
  const content = contentOf(node);
  if (node.format !== "qcow2") return content;
  const graph = new BlockGraph({ drivers: [memoryOpener, qcow2Opener] });
  const file = await graph.add({ driver: "memory", "node-name": `${node.name}-file`, size: 0 });
  await fillQcow2(graph, node, content);
  const image = (file.driver as MemoryDriver).bytes.slice();
  await graph.close();
  return image;
}

/** As qemu-io writes what a scenario begins with into a new image: in order, and nothing where nothing is said. */
async function fillQcow2(graph: BlockGraph, { name, size, fill, init = [] }: GoldenNode, content: Uint8Array): Promise<void> {
  await graph.create({ driver: "qcow2", file: `${name}-file`, size });
  const image = await graph.open({ driver: "qcow2", file: `${name}-file` });
  if (fill !== undefined) await image.write(0, IoVector.of(content.slice().fill(fill)));
  for (const [offset, length] of init) await image.write(offset, IoVector.of(content.slice(offset, offset + length)));
  await graph.release(image);
}

/** All of the disk in a qcow2 image. */
export async function readQcow2(image: Uint8Array): Promise<Uint8Array> {
  // Files of QEMU's end where their data end.
  const bytes = new Uint8Array(Math.ceil(image.length / 512) * 512);
  bytes.set(image);
  const memory: DriverOpener = { driver: "memory", children: [], open: () => new MemoryDriver({ bytes }) };
  const graph = new BlockGraph({ drivers: [memory, qcow2Opener] });
  const node = await graph.open({ driver: "qcow2", file: { driver: "memory" }, "read-only": true });
  const disk = new Uint8Array(node.lengthBytes);
  await node.read(0, IoVector.of(disk));
  await graph.release(node);
  return disk;
}
