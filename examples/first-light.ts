// The main job: a guest reads and overwrites a disk while a backup copies its past, and then all of it is proved from the files.
//
//   npm start                              on an image with a tar archive of this folder
//   npm start -- --drive file=disk.img     on a raw image of yours, which the guest overwrites in places

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Disk } from "virtio-blk/guest";
import type { ScriptContext } from "virtio-blk/machine";

const BACKUP = "vblk-demo/backup.img";
const BITMAP = "changes";
const CLUSTER = 64 * 1024;
const BLOCK = 4096;
const ROUNDS = 150;
const REQUESTS_A_ROUND = 16;
const MAX_BLOCKS = 16;
const PIECE = 1 << 20;

export async function main({ guest, control, log, progress, check }: ScriptContext): Promise<void> {
  const [drive] = control.drives;
  if (drive?.path === undefined)
    throw new Error("first-light needs an image file: --drive file=PATH or --image-from FOLDER");
  const [block] = await control.qmp("query-block");
  if (block?.inserted?.drv !== "raw")
    throw new Error("first-light proves what it did from the bytes of its files: it needs a raw image");

  // Probe, negotiate, and look around.
  const disk = await guest.probe();
  log(`guest: found '${await disk.id()}', ${disk.capacityBytes} bytes, a queue of ${disk.queueSize}`);
  if (disk.readOnly) throw new Error("first-light writes: it needs a drive without readonly=on");
  if (disk.capacityBytes < MAX_BLOCKS * BLOCK)
    throw new Error(`first-light needs a disk of ${MAX_BLOCKS * BLOCK} bytes or more`);

  // T0. No request is in flight: what the image holds now is what the backup has to hold in the end.
  await disk.flush();
  const past = await sha256(drive.path);
  await mkdir(dirname(BACKUP), { recursive: true });
  control.addBitmap({ name: BITMAP, granularityBytes: CLUSTER });
  const backup = await control.startBackup({ target: BACKUP });

  // The guest works on while the backup runs.
  const written = await overwriteAtRandom(disk, progress);
  await disk.flush();
  await backup.completed;
  log(`guest: wrote ${written.size} different blocks of ${BLOCK} bytes; the image as it was is in ${BACKUP}`);

  // The proof, from the files alone.
  const copy = await sha256(BACKUP);
  check("the backup is the image as it was when the backup began", copy === past, `sha256 ${copy.slice(0, 16)}…`);
  const { changed, wrongBlocks } = await compare(drive.path, BACKUP, written);
  check("the image holds exactly what the guest wrote", wrongBlocks === 0, `${written.size} blocks`);
  const dirty = new Set<number>();
  for (const { offsetBytes, lengthBytes } of control.dirtyAreas({ name: BITMAP })) {
    for (let at = offsetBytes; at < offsetBytes + lengthBytes; at += CLUSTER) dirty.add(at / CLUSTER);
  }
  const same = dirty.size === changed.size && [...changed].every((cluster) => dirty.has(cluster));
  check("every changed cluster is dirty in the bitmap, and no other", same, `${dirty.size} of 64 KiB`);
}

/** Reads and writes at random, many requests in flight; returns the last write of each block. */
async function overwriteAtRandom(disk: Disk, progress: ScriptContext["progress"]): Promise<Map<number, number>> {
  const blocks = Math.floor(disk.capacityBytes / BLOCK);
  const written = new Map<number, number>();
  const random = randomNumbers(20_261_120);
  for (let round = 0; round < ROUNDS; round++) {
    const taken = new Set<number>();
    const pending = disk.batch(() => {
      const requests: Promise<unknown>[] = [];
      for (let i = 0; i < REQUESTS_A_ROUND; i++) {
        const count = 1 + (random() % MAX_BLOCKS);
        const first = random() % (blocks - count + 1);
        const area = Array.from({ length: count }, (_, k) => first + k);
        // Requests in flight have no order, so none of them may touch another's blocks.
        if (area.some((block) => taken.has(block))) continue;
        for (const block of area) taken.add(block);
        if (random() % 4 === 0) {
          requests.push(disk.read(first * BLOCK, count * BLOCK));
          continue;
        }
        const write = round * REQUESTS_A_ROUND + i;
        const bytes = new Uint8Array(count * BLOCK);
        for (const [k, block] of area.entries()) {
          bytes.set(content(write, block), k * BLOCK);
          written.set(block, write);
        }
        requests.push(disk.write(first * BLOCK, bytes));
      }
      return requests;
    });
    await Promise.all(pending);
    if (round % 10 === 9) await disk.flush();
    progress((round + 1) * REQUESTS_A_ROUND, ROUNDS * REQUESTS_A_ROUND);
  }
  return written;
}

/** Reads image and backup side by side: the clusters that differ, and the blocks of the image that are not what they should be. */
async function compare(
  image: string,
  backup: string,
  written: ReadonlyMap<number, number>,
): Promise<{ changed: Set<number>; wrongBlocks: number }> {
  const changed = new Set<number>();
  let wrongBlocks = 0;
  await using imageFile = await open(image);
  await using backupFile = await open(backup);
  const now = Buffer.alloc(PIECE);
  const past = Buffer.alloc(PIECE);
  for (let offset = 0; ; offset += PIECE) {
    const [{ bytesRead }, { bytesRead: pastRead }] = await Promise.all([
      imageFile.read(now, 0, PIECE, offset),
      backupFile.read(past, 0, PIECE, offset),
    ]);
    if (bytesRead === 0 && pastRead === 0) return { changed, wrongBlocks };
    now.fill(0, bytesRead); // an image that is no multiple of 512 bytes reads as zeroes behind its end
    past.fill(0, pastRead);
    for (let at = 0; at < Math.max(bytesRead, pastRead); at += BLOCK) {
      const block = (offset + at) / BLOCK;
      const write = written.get(block);
      const expected = write === undefined ? past.subarray(at, at + BLOCK) : content(write, block);
      if (now.compare(expected, 0, BLOCK, at, at + BLOCK) !== 0) wrongBlocks++;
      if (now.compare(past, at, at + BLOCK, at, at + BLOCK) !== 0) changed.add(Math.floor((offset + at) / CLUSTER));
    }
  }
}

/** What write number `write` puts into block number `block`: never zeroes, never twice the same. */
function content(write: number, block: number): Uint8Array {
  const random = randomNumbers(write * 1_000_003 + block + 1);
  const words = new Uint32Array(BLOCK / 4);
  for (let i = 0; i < words.length; i++) words[i] = random();
  return new Uint8Array(words.buffer);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  let length = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE })) {
    hash.update(chunk as Buffer);
    length += (chunk as Buffer).length;
  }
  if (length % 512 !== 0) hash.update(Buffer.alloc(512 - (length % 512))); // as the guest sees the end of such an image
  return hash.digest("hex");
}

/** Numbers of 32 bits, the same for the same seed (xorshift32). */
function randomNumbers(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
