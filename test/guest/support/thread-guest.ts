// A guest in a thread of its own that writes, reads back and compares, until its time is over. Run by thread-stress.test.ts.

import { parentPort, workerData } from "node:worker_threads";
import { type Disk, Guest, type RegisterConnection, type RingLayout, ThreadTarget } from "../../../guest/index.ts";

export interface ThreadGuestOptions {
  readonly connection: RegisterConnection;
  readonly ringLayout: RingLayout;
  readonly queueSizes: readonly number[];
  /** Time for each size. */
  readonly sliceMs: number;
  readonly seed: number;
}

/** What a size of queue came to. */
export interface ThreadGuestReport {
  readonly queueSize: number;
  readonly requests: number;
  readonly completions: number;
  readonly mismatches: number;
  /** VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED. */
  readonly negotiated: readonly [boolean, boolean];
}

const SLOTS = 48;
const SLOT_SECTORS = 8;

/** Numbers below n, the same for the same seed. */
function below(state: { seed: number }, n: number): number {
  state.seed = (Math.imul(state.seed, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state.seed / 2 ** 32) * n);
}

/** Every slot of the disk has one worker at a time, which knows what stands there: requests in flight have no order. */
async function drive(disk: Disk, sliceMs: number, random: { seed: number }): Promise<[number, number, number]> {
  const until = performance.now() + sliceMs;
  let requests = 0;
  let completions = 0;
  let mismatches = 0;
  const work = async (slot: number): Promise<void> => {
    const at = slot * SLOT_SECTORS * 512;
    while (performance.now() < until) {
      const bytes = new Uint8Array(512 * (1 + below(random, SLOT_SECTORS))).fill(below(random, 256));
      new DataView(bytes.buffer).setUint32(0, random.seed, true);
      requests++;
      await disk.write(at, bytes);
      completions++;
      for (let reads = below(random, 3); reads > 0; reads--) {
        requests++;
        const back = await disk.read(at, bytes.length);
        completions++;
        if (Buffer.compare(back, bytes) !== 0) mismatches++;
      }
      if (below(random, 50) === 0) {
        requests++;
        await disk.flush();
        completions++;
      }
    }
  };
  await Promise.all(Array.from({ length: SLOTS }, (_, slot) => work(slot)));
  return [requests, completions, mismatches];
}

const { connection, ringLayout, queueSizes, sliceMs, seed } = (workerData as { readonly data: ThreadGuestOptions })
  .data;
const target = new ThreadTarget(connection);
const guest = new Guest(target);
const random = { seed };
const reports: ThreadGuestReport[] = [];
for (const queueSize of queueSizes) {
  // A lost completion or interrupt is a request without an answer, of which the driver's watchdog tells.
  const disk = await guest.probe({ ringLayout, queueSize, timeoutMs: 5000 });
  const [requests, completions, mismatches] = await drive(disk, sliceMs, random);
  const has = (feature: number): boolean => ((disk.features >> BigInt(feature)) & 1n) === 1n;
  reports.push({ queueSize: disk.queueSize, requests, completions, mismatches, negotiated: [has(29), has(34)] });
}
await guest.close();
target.close();
parentPort!.postMessage(reports);
