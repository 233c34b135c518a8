// A guest that writes 4 KiB blocks, one at a time and anywhere, during a full backup of 1 GiB: row 13 of docs/performance.md.

import { join } from "node:path";
import { IoVector } from "../src/base/io-vector.ts";
import { BlockBackend } from "../src/block/backend.ts";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import { startBackup } from "../src/job/backup-action.ts";
import { JobList } from "../src/job/job-list.ts";
import { BlockPeer, OURS, type PeerKind, QEMU_ONE_WORKER, QEMUS } from "./block-peer.ts";
import { GIB, inFolder, makeEmptyImage, makeFullImage, shuffled } from "./images.ts";
import { type BenchTable, median, ms } from "./report.ts";

const ROUNDS = 5;
const WRITE_BYTES = 4096;
/** More than any guest makes during one backup. */
const PLACES = shuffled(GIB / WRITE_BYTES, GIB / WRITE_BYTES);

interface Guest {
  /** A backup from `source.img` to `target.img`. With a guest, `written` is told how long each of its writes took. */
  backUp(written?: (elapsedMs: number) => void): Promise<number>;
  end(): Promise<void>;
}

/** Where a guest runs. */
interface Place {
  readonly name: string;
  /** A new one for each round, with `source.img` of this folder for its disk. */
  start(folder: string): Promise<Guest>;
}

interface Run {
  readonly aloneMs: number;
  readonly jobMs: number;
  /** Of each write that ended while the job was running, in milliseconds. */
  readonly writesMs: readonly number[];
}

/** In a folder below `parent`, which has room for 2 GiB. Each round is a backup without the guest and one with it. */
export function guestDuringBackupBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    makeFullImage(join(folder, "source.img"), GIB);
    const places = [IN_PROCESS, ...[OURS, ...QEMU_ONE_WORKER, ...QEMUS].map(overQmp)];
    const runs = places.map((): Run[] => []);
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, place] of places.entries()) runs[i]!.push(await run(place, folder));
    return [
      {
        title: "A guest writing 4 KiB blocks one at a time during a full backup of 1 GiB (row 13)",
        columns: ["who", "writes/s", "median write", "worst write", "job", "job alone", "as long"],
        rows: places.map(({ name }, i) => [name, ...figures(runs[i]!)]),
      },
    ];
  });
}

async function run(place: Place, folder: string): Promise<Run> {
  const target = join(folder, "target.img");
  const guest = await place.start(folder);
  try {
    makeEmptyImage(target, GIB);
    const aloneMs = await guest.backUp();
    makeEmptyImage(target, GIB);
    const writesMs: number[] = [];
    const jobMs = await guest.backUp((elapsedMs) => writesMs.push(elapsedMs));
    return { aloneMs, jobMs, writesMs };
  } finally {
    await guest.end();
  }
}

/** Medians of the rounds, the worst write included: it is the worst of a round. */
function figures(runs: readonly Run[]): (string | number)[] {
  const of = (figure: (run: Run) => number): number => median(runs.map(figure));
  return [
    Math.round(of(({ writesMs, jobMs }) => (writesMs.length * 1000) / jobMs)),
    `${of(({ writesMs }) => median(writesMs)).toFixed(2)} ms`,
    ms(of(({ writesMs }) => Math.max(...writesMs))),
    ms(of(({ jobMs }) => jobMs)),
    ms(of(({ aloneMs }) => aloneMs)),
    `${of(({ jobMs, aloneMs }) => jobMs / aloneMs).toFixed(2)}x`,
  ];
}

/** A guest whose writes come over the monitor, by `qemu-io`: the same way for everybody, a round trip included. */
function overQmp(kind: PeerKind): Place {
  return {
    name: `${kind.name}, over QMP`,
    async start(folder) {
      const drive = `file=${join(folder, "source.img")},format=raw,if=none,id=drive0`;
      const peer = await BlockPeer.start(kind, ["-drive", drive]);
      // QEMU opens the image for writing at the first write, and loses what is in flight then.
      await peer.write("drive0", 0, WRITE_BYTES);
      return {
        async backUp(written) {
          await peer.add("target", join(folder, "target.img"));
          const jobMs = await peer.backUp({ device: "drive0", sync: "full" }, async (running) => {
            for (let i = 0; written !== undefined && running(); i++) {
              const startedMs = performance.now();
              await peer.write("drive0", PLACES[i]! * WRITE_BYTES, WRITE_BYTES);
              written(performance.now() - startedMs);
            }
          });
          await peer.remove("target");
          return jobMs;
        },
        end: () => peer.end(),
      };
    },
  };
}

/** A guest in the process of the job, as all guests of a script are: a write is a call, and the next one comes a turn later. */
const IN_PROCESS: Place = {
  name: "virtio-blk, in process",
  async start(folder) {
    const source = await open(join(folder, "source.img"));
    const backend = new BlockBackend({ name: "drive0", node: source[0] });
    const data = new IoVector(new Uint8Array(WRITE_BYTES).fill(0xcd));
    data.push(0, WRITE_BYTES);
    return {
      async backUp(written) {
        const target = await open(join(folder, "target.img"));
        const startedMs = performance.now();
        const { job } = await startBackup(new JobList(), { id: "job0", source: source[0], target: target[0] });
        let jobMs: number | undefined;
        const concluded = job.untilConcluded().then(({ kind }) => {
          jobMs = performance.now() - startedMs;
          if (kind !== "completed") throw new Error(`backup: ${kind}`);
        });
        for (let i = 0; written !== undefined && jobMs === undefined; i++) {
          const writeStartedMs = performance.now();
          const pending = backend.write(PLACES[i]! * WRITE_BYTES, data);
          if (pending !== undefined) await pending;
          written(performance.now() - writeStartedMs);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await concluded;
        await close(target);
        return jobMs!;
      },
      end() {
        backend.close();
        return close(source);
      },
    };
  },
};

async function open(path: string): Promise<[BlockNode, BlockNode]> {
  const file = new BlockNode({ name: `${path}-file`, driver: await FileDriver.open({ path }) });
  return [new BlockNode({ name: path, driver: new RawDriver({ file }) }), file];
}

async function close(nodes: readonly BlockNode[]): Promise<void> {
  for (const node of nodes) await node.close();
}
