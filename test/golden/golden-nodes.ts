// The nodes of a golden scenario: a format node, fault injection where it has any, and memory for the file.
import { IoVector } from "../../src/base/io-vector.ts";
import type { BlockGraph } from "../../src/block/graph.ts";
import type { BlockdevOptions } from "../../src/block/graph-options.ts";
import type { GoldenNode } from "./golden-files.ts";

export async function addDriverNodes(graph: BlockGraph, node: GoldenNode): Promise<void> {
  const { name, size, fill = 0, init = [], discard = "unmap", blkdebug } = node;
  const file: BlockdevOptions = { driver: "memory", "node-name": `${name}-file`, size, discard };
  const made = await graph.add(file);
  const content = new Uint8Array(size).fill(fill);
  for (const [offset, length, byte] of init) content.fill(byte, offset, offset + length);
  await made.write(0, IoVector.of(content));
  if (blkdebug !== undefined) {
    const rules = blkdebug as unknown as BlockdevOptions[];
    const options = { driver: "blkdebug", "node-name": `${name}-dbg`, image: `${name}-file`, "inject-error": rules, discard };
    await graph.add(options as BlockdevOptions);
  }
  await graph.add({
    driver: "raw",
    "node-name": name,
    file: blkdebug === undefined ? `${name}-file` : `${name}-dbg`,
    discard,
  });
}
