// Drained sections that copies pass on from target to source, when one copy's target leads to the other's source.
import { describe, expect, it } from "vitest";
import { BlockCopy } from "../../src/block/block-copy.ts";
import { BlockCopyNotifier } from "../../src/block/block-copy-notifier.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { Interception } from "../../src/block/interception.ts";
import { BlockNode } from "../../src/block/node.ts";
import { RecordingParent } from "../support/recording-parent.ts";

const BYTES = 65536;

function memory(name: string): BlockNode {
  return new BlockNode({ name, driver: new MemoryDriver({ lengthBytes: BYTES }) });
}

/** A copy whose user does nothing. */
class Installed {
  readonly #interception: Interception;
  readonly #notifier: BlockCopyNotifier;

  constructor(source: BlockNode, target: BlockNode, job: RecordingParent = new RecordingParent()) {
    const reason = "block device is in use by block job: backup";
    this.#interception = new Interception({ filterName: `#${source.name}`, source, target, reason });
    this.#interception.attachTarget();
    this.#interception.coverSource();
    this.#interception.activate();
    const copy = new BlockCopy({ source, target, clusterSizeBytes: BYTES });
    this.#notifier = new BlockCopyNotifier(copy, this.#interception, job);
    this.#notifier.install();
  }

  end(): void {
    this.#notifier.remove();
    this.#notifier.release();
    this.#interception.remove();
  }
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
  const first = new Installed(b, above);
  const y = target(b);
  const nodes = [a, b, above, y];
  const depths = nodes.map(depthOf);
  for (const node of nodes) node.beginDrain();
  const second = new Installed(a, y);
  for (const node of nodes) node.endDrain();
  second.end();
  first.end();
  return depths.map((depth) => depth());
}

describe("BlockCopyNotifier", () => {
  it("ends all drains that it has passed on, where another begins meanwhile", () => {
    expect(drainDepths(() => memory("y"))).toEqual([0, 0, 0, 0]);
  });

  it("does so where its target stands on the other's source, and passes no section on in a circle", () => {
    expect(drainDepths(overlay)).toEqual([0, 0, 0, 0]);
  });

  it("drains with its target its job and those whose requests it intercepts, and nobody else who uses the source", () => {
    const [source, target] = [memory("a"), memory("b")];
    const fleece = overlay(source);
    const [guest, job, reader, late] = Array.from({ length: 4 }, () => new RecordingParent());
    source.attachParent(guest!);
    fleece.attachParent(reader!);
    const onFleece = new Installed(source, fleece);
    const copy = new Installed(source, new BlockNode({ name: "x", driver: new RawDriver({ file: target }) }), job!);
    source.attachParent(late!);
    const drains = () => [guest, job, reader, late].map((parent) => parent!.drains);
    fleece.beginDrain();
    expect(drains()).toEqual([1, 0, 1, 0]);
    target.beginDrain();
    expect(drains()).toEqual([3, 1, 2, 0]);
    source.detachParent(guest!);
    expect(guest!.drains).toBe(0);
    onFleece.end();
    expect(drains()).toEqual([0, 1, 2, 0]);
    copy.end();
    expect(drains()).toEqual([0, 0, 1, 0]);
    fleece.endDrain();
    target.endDrain();
    expect(drains()).toEqual([0, 0, 0, 0]);
  });

  it("waits, where its target is drained, for what is intercepted and for its job", async () => {
    const [source, target] = [memory("a"), memory("b")];
    const [guest, job] = [new RecordingParent(), new RecordingParent()];
    source.attachParent(guest);
    const copy = new Installed(source, target, job);
    for (const busy of [guest, job]) {
      busy.becomeBusy();
      expect(target.untilQuiet()).toBeInstanceOf(Promise);
      busy.becomeQuiet();
      expect(target.untilQuiet()).toBeUndefined();
    }
    copy.end();
  });
});

function overlay(backing: BlockNode): BlockNode {
  return new BlockNode({ name: "y", driver: new MemoryOverlayDriver({ backing, lengthBytes: BYTES }) });
}
