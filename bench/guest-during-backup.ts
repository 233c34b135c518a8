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
  backUp(folder: string, written?: (elapsedMs: number) => void): Promise<number>;
  readonly name: string;
  end?(): Promise<void>;
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
    const guests: Guest[] = [IN_PROCESS];
    try {
      for (const kind of [OURS, ...QEMU_ONE_WORKER, ...QEMUS]) guests.push(await monitorGuest(kind));
      const runs = guests.map((): Run[] => []);
      for (let round = 0; round < ROUNDS; round++)
        for (const [i, guest] of guests.entries()) runs[i]!.push(await run(guest, folder));
      return [
        {
          title: "A guest writing 4 KiB blocks one at a time during a full backup of 1 GiB (row 13)",
          columns: ["who", "writes/s", "median write", "worst write", "job", "job alone", "as long"],
          rows: guests.map(({ name }, i) => [name, ...figures(runs[i]!)]),
        },
      ];
    } finally {
      for (const guest of guests) await guest.end?.();
    }
  });
}

async function run(guest: Guest, folder: string): Promise<Run> {
  const target = join(folder, "target.img");
  makeEmptyImage(target, GIB);
  const aloneMs = await guest.backUp(folder);
  makeEmptyImage(target, GIB);
  const writesMs: number[] = [];
  const jobMs = await guest.backUp(folder, (elapsedMs) => writesMs.push(elapsedMs));
  return { aloneMs, jobMs, writesMs };
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
async function monitorGuest(kind: PeerKind): Promise<Guest> {
  const peer = await BlockPeer.start(kind);
  return {
    name: `${kind.name}, over QMP`,
    async backUp(folder, written) {
      await peer.add("source", join(folder, "source.img"));
      await peer.add("target", join(folder, "target.img"));
      const jobMs = await peer.backUp({ sync: "full" }, async (running) => {
        if (written === undefined) return;
        for (let i = 0; running(); i++) {
          const startedMs = performance.now();
          await peer.write("source", PLACES[i]! * WRITE_BYTES, WRITE_BYTES);
          written(performance.now() - startedMs);
        }
      });
      for (const node of ["source", "target"]) await peer.remove(node);
      return jobMs;
    },
    end: () => peer.end(),
  };
}

/** A guest in the process of the job, as all guests of a script are: a write is a call, and the next one comes a turn later. */
const IN_PROCESS: Guest = {
  name: "virtio-blk, in process",
  async backUp(folder, written) {
    const [source, ...sourceBelow] = await open(join(folder, "source.img"));
    const [target, ...targetBelow] = await open(join(folder, "target.img"));
    const backend = new BlockBackend({ name: "drive0", node: source });
    const startedMs = performance.now();
    const { job } = await startBackup(new JobList(), { id: "job0", source, target });
    let jobMs: number | undefined;
    const concluded = job.untilConcluded().then(({ kind }) => {
      jobMs = performance.now() - startedMs;
      if (kind !== "completed") throw new Error(`backup: ${kind}`);
    });
    const data = new IoVector(new Uint8Array(WRITE_BYTES).fill(0xcd));
    data.push(0, WRITE_BYTES);
    for (let i = 0; written !== undefined && jobMs === undefined; i++) {
      const writeStartedMs = performance.now();
      const pending = backend.write(PLACES[i]! * WRITE_BYTES, data);
      if (pending !== undefined) await pending;
      await new Promise((resolve) => setImmediate(resolve));
      written(performance.now() - writeStartedMs);
    }
    await concluded;
    backend.close();
    for (const node of [source, ...sourceBelow, target, ...targetBelow]) await node.close();
    return jobMs!;
  },
};

async function open(path: string): Promise<[BlockNode, BlockNode]> {
  const file = new BlockNode({ name: `${path}-file`, driver: await FileDriver.open({ path }) });
  return [new BlockNode({ name: path, driver: new RawDriver({ file }) }), file];
}
