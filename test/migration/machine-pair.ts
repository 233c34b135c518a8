// Two machines with the same nodes: one with bitmaps, one that waits for them.
import { TestMachine } from "./test-machine.ts";

export const NODES: Readonly<Record<string, number>> = { n0: 131072, n1: 1_000_000 };

async function withBitmaps(): Promise<TestMachine> {
  const machine = await TestMachine.create(NODES);
  const [n0, n1] = [machine.graph.getNode("n0").bitmaps, machine.graph.getNode("n1").bitmaps];
  n0.add({ name: "a", granularityBytes: 512 });
  n0.add({ name: "off", granularityBytes: 65536 });
  n1.add({ name: "a", granularityBytes: 4096 }).persistent = true;
  n0.setDirty(0, 512);
  n0.setDirty(70_000, 5000);
  n1.setDirty(999_999, 1);
  n0.disable("off");
  return machine.capabilities("dirty-bitmaps");
}

/** The source and the destination, connected. */
export async function pair(): Promise<{ source: TestMachine; destination: TestMachine }> {
  const source = await withBitmaps();
  const destination = await TestMachine.create(NODES, true);
  source.destination = destination;
  source.migration.settings.setParameters({ "downtime-limit": 1000 });
  return { source, destination };
}

/** What is seen of a machine without bitmaps. */
export const EMPTY: Readonly<Record<string, readonly never[]>> = { n0: [], n1: [] };
