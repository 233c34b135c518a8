// A file that remembers what was done to it in which order, and what of it is there when the machine stops.
import { IoVector } from "../../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../../src/block/drivers/memory.ts";
import { qcow2Opener } from "../../../../src/block/drivers/qcow2/opener.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";

export type Change = { readonly at: number; readonly bytes: Uint8Array } | { readonly lengthBytes: number } | "flush";

/** A file that remembers all that was done to it. */
export class RecordedFile extends MemoryDriver {
  readonly changes: Change[] = [];

  override write(offsetBytes: number, vector: IoVector): void {
    const bytes = new Uint8Array(vector.byteLength);
    vector.copyTo(bytes, 0);
    this.changes.push({ at: offsetBytes, bytes });
    super.write(offsetBytes, vector);
  }

  override writeZeroes(offsetBytes: number, lengthBytes: number): void {
    this.changes.push({ at: offsetBytes, bytes: new Uint8Array(lengthBytes) });
    super.writeZeroes(offsetBytes, lengthBytes);
  }

  /** What is discarded may read as anything. */
  override discard(offsetBytes: number, lengthBytes: number): void {
    this.write(offsetBytes, IoVector.of(new Uint8Array(lengthBytes).fill(0xdd)));
  }

  override flush(): void {
    this.changes.push("flush");
  }

  override resize(lengthBytes: number): void {
    this.changes.push({ lengthBytes });
    super.resize(lengthBytes);
  }
}

/** With the node `file`, for qcow2 nodes to stand on. */
export async function graphOn(bytes: Uint8Array | RecordedFile): Promise<BlockGraph> {
  const driver = bytes instanceof RecordedFile ? bytes : new MemoryDriver({ bytes });
  const memory = { driver: "memory", children: [], open: () => driver };
  const graph = new BlockGraph({ drivers: [memory, qcow2Opener] });
  await graph.add({ driver: "memory", "node-name": "file", discard: "unmap" });
  return graph;
}

/** The file after the first `count` changes, of which those after the last flush may be `lost`. */
export function fileAfter(changes: readonly Change[], count: number, lost: (index: number) => boolean): Uint8Array {
  const lastFlush = changes.slice(0, count).lastIndexOf("flush");
  let bytes = new Uint8Array(0);
  for (let i = 0; i < count; i++) {
    const change = changes[i]!;
    if (change === "flush") continue;
    if ("lengthBytes" in change) {
      const longer = new Uint8Array(change.lengthBytes);
      longer.set(bytes.subarray(0, longer.length));
      bytes = longer;
    } else if (i < lastFlush || !lost(i)) bytes.set(change.bytes, change.at);
  }
  return bytes;
}
