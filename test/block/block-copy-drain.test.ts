// Drained sections that copies pass on from target to source, when one copy's target leads to the other's source.
import { describe, expect, it } from "vitest";
import { BlockCopy } from "../../src/block/block-copy.ts";
import { BlockCopyNotifier } from "../../src/block/block-copy-notifier.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";

const BYTES = 65536;

function memory(name: string): BlockNode {
  return new BlockNode({ name, driver: new MemoryDriver({ lengthBytes: BYTES }) });
}

function install(source: BlockNode, target: BlockNode): BlockCopyNotifier {
  const copy = new BlockCopy({ source, target, clusterSizeBytes: BYTES });
  const notifier = new BlockCopyNotifier(copy, `copy of ${source.name}`);
  notifier.install();
  return notifier;
}

/** How deep a node is drained: its parent is told of every section. */
function depthOf(node: BlockNode): () => number {
  let depth = 0;
  node.attachParent({
    parentName: "the test",
    beginDrain: () => depth++,
    untilQuiet: () => undefined,
    endDrain: () => depth--,
  });
  return () => depth;
}

/** A first copy, a second one that begins while all is drained, and the sections' end; then both copies go. */
function drainDepths(target: (lower: BlockNode) => BlockNode): number[] {
  const [a, b] = [memory("a"), memory("b")];
  const above = new BlockNode({ name: "x", driver: new RawDriver({ file: a }) });
  const first = install(b, above);
  const y = target(b);
  const nodes = [a, b, above, y];
  const depths = nodes.map(depthOf);
  for (const node of nodes) node.beginDrain();
  const second = install(a, y);
  for (const node of nodes) node.endDrain();
  for (const notifier of [second, first]) {
    notifier.remove();
    notifier.release();
  }
  return depths.map((depth) => depth());
}

describe("BlockCopyNotifier", () => {
  it("ends all drains that it has passed on, where another begins meanwhile", () => {
    expect(drainDepths(() => memory("y"))).toEqual([0, 0, 0, 0]);
  });

  // Differs: draining a target should drain those whose requests the copy intercepts, as with a filter above the source, and not
  // all users of the source. Here y is such a user, and the two notifiers pass a section on to each other in a circle.
  it.fails("does so where its target stands on the other's source (differs: the sections go in a circle)", () => {
    const overlay = (lower: BlockNode) =>
      new BlockNode({ name: "y", driver: new MemoryOverlayDriver({ backing: lower, lengthBytes: BYTES }) });
    expect(drainDepths(overlay)).toEqual([0, 0, 0, 0]);
  });
});
