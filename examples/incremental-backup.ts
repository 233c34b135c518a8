// Backup as its author does it, in QMP's words: a full backup and a bitmap at one moment, an incremental one later, and the proof that
// both together are the disk. The guest writes all the while.
//
//   vblk run examples/incremental-backup.ts
//   vblk run examples/incremental-backup.ts --drive file=disk.img      (the guest overwrites it in places)

import { randomInt } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Disk } from "virtio-blk/guest";
import type { MachineControl, ScriptContext } from "virtio-blk/machine";

const CLUSTER = 64 * 1024;
const BLOCK = 4096;
const PIECE = 1 << 20;

export async function main({ guest, control, log, check }: ScriptContext): Promise<void> {
  const disk = await guest.probe();
  if (disk.readOnly || disk.capacityBytes < 2 * BLOCK) throw new Error("incremental-backup needs a disk to write to");
  const [drive] = await control.qmp("query-block");
  const { image, "node-name": node } = drive!.inserted!;
  log(`${drive!.device}: node ${node}, ${image.format}, ${image["virtual-size"]} bytes, on ${drive!.qdev}`);

  const folder = await mkdtemp(join(tmpdir(), "vblk-example-"));
  using events = control.events();
  const guestWrites = keepWriting(disk);
  try {
    // Two copies of one moment, T0, and a bitmap that begins there: all of it or none.
    for (const target of ["full", "witness"])
      await makeTarget(control, target, join(folder, target), disk.capacityBytes);
    await control.qmp("transaction", {
      actions: [
        { type: "block-dirty-bitmap-add", data: { node, name: "since-full", granularity: CLUSTER } },
        { type: "blockdev-backup", data: { "job-id": "full", device: node, target: "full", sync: "full" } },
        { type: "blockdev-backup", data: { "job-id": "witness", device: node, target: "witness", sync: "full" } },
      ],
    });
    const ends = [await events.until("BLOCK_JOB_COMPLETED"), await events.until("BLOCK_JOB_COMPLETED")];
    check(
      "both jobs ended well, and said so",
      ends.every(({ data }) => data.error === undefined) && new Set(ends.map(({ data }) => data.device)).size === 2,
      ends.map(({ data }) => data.device).join(", "),
    );
    const pieces = (offset: number): Promise<Uint8Array[]> =>
      Promise.all(["full", "witness"].map((target) => readPiece(join(folder, target), offset)));
    const same = await agree(disk.capacityBytes, pieces);
    check("both copies are of the same moment, though the guest went on", same);

    // T1: what has changed since T0 goes to the copy that there is, and the guest rests so that there is something to compare with.
    const written = await guestWrites.stop();
    const [bitmap] = (await control.qmp("query-block"))[0]!.inserted!["dirty-bitmaps"] ?? [];
    log(`guest: ${written} writes; bitmap '${bitmap?.name}': ${bitmap?.count} dirty bytes`);
    await control.qmp("blockdev-backup", {
      "job-id": "later",
      device: node,
      target: "full",
      sync: "incremental",
      bitmap: "since-full",
    });
    const end = await events.until("BLOCK_JOB_COMPLETED", ({ device }) => device === "later");
    check("the incremental backup copied what the bitmap held", end.data.error === undefined, `${end.data.len} bytes`);

    await control.qmp("blockdev-del", { "node-name": "full" });
    const whole = await agree(disk.capacityBytes, (offset) =>
      Promise.all([
        readPiece(join(folder, "full"), offset),
        disk.read(offset, Math.min(PIECE, disk.capacityBytes - offset)),
      ]),
    );
    check("full and incremental together are the disk", whole);
  } finally {
    await guestWrites.stop();
    await rm(folder, { recursive: true });
  }
}

/** An image as long as the disk, and a node of that name for it. */
async function makeTarget(control: MachineControl, name: string, filename: string, size: number): Promise<void> {
  using events = control.events();
  const job = `create-${name}`;
  await control.qmp("blockdev-create", { "job-id": job, options: { driver: "file", filename, size } });
  await events.until("JOB_STATUS_CHANGE", ({ id, status }) => id === job && status === "concluded");
  await control.qmp("job-dismiss", { id: job });
  await control.qmp("blockdev-add", { driver: "raw", "node-name": name, file: { driver: "file", filename } });
}

/** A guest that never rests until it is told to; `stop` resolves with the number of its writes. */
function keepWriting(disk: Disk): { stop(): Promise<number> } {
  let stopped = false;
  let writes = 0;
  const work = async (): Promise<void> => {
    while (!stopped) {
      const block = randomInt(Math.floor(disk.capacityBytes / BLOCK / 2)); // the other half need not be copied again
      await disk.write(block * BLOCK, new Uint8Array(BLOCK).fill(++writes));
    }
    await disk.flush();
  };
  const done = work();
  return {
    async stop() {
      stopped = true;
      await done;
      return writes;
    },
  };
}

/** Whether what `read` gives for each piece of a disk is twice the same. */
async function agree(lengthBytes: number, read: (offset: number) => Promise<Uint8Array[]>): Promise<boolean> {
  for (let offset = 0; offset < lengthBytes; offset += PIECE) {
    const [a, b] = await read(offset);
    if (Buffer.compare(a!, b!) !== 0) return false;
  }
  return true;
}

async function readPiece(path: string, offset: number): Promise<Uint8Array> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(PIECE), 0, PIECE, offset);
  return buffer.subarray(0, bytesRead);
}
