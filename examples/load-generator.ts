// A load generator: random reads and writes with a queue depth, and what they cost.
//
//   vblk run examples/load-generator.ts
//   vblk run examples/load-generator.ts --drive file=disk.img,x-io=threads
//
// VBLK_REQUESTS, VBLK_DEPTH, VBLK_BYTES and VBLK_READS (percent) set the load.

import type { ScriptContext } from "virtio-blk/machine";

const REQUESTS = setting("VBLK_REQUESTS", 20_000);
const DEPTH = setting("VBLK_DEPTH", 32);
const BYTES = setting("VBLK_BYTES", 4096);
const READS = setting("VBLK_READS", 70);

export async function main({ guest, log, progress, check }: ScriptContext): Promise<void> {
  const disk = await guest.probe();
  const slots = Math.floor(disk.capacityBytes / BYTES);
  const reads = disk.readOnly ? 100 : READS;
  const latenciesUs: number[] = [];
  let submitted = 0;

  // As many workers as the depth says: each has one request in flight, always.
  const worker = async (): Promise<void> => {
    const bytes = new Uint8Array(BYTES).fill(0xa5);
    while (submitted < REQUESTS) {
      submitted++;
      const offset = Math.floor(Math.random() * slots) * BYTES;
      const startedMs = performance.now();
      if (Math.random() * 100 < reads) await disk.readInto(offset, bytes);
      else await disk.write(offset, bytes);
      latenciesUs.push((performance.now() - startedMs) * 1000);
      if (latenciesUs.length % 100 === 0) progress(latenciesUs.length, REQUESTS);
    }
  };
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: DEPTH }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  await disk.flush();

  latenciesUs.sort((a, b) => a - b);
  const at = (share: number): string =>
    `${(latenciesUs[Math.floor(share * (latenciesUs.length - 1))] ?? 0).toFixed(1)} µs`;
  log(`${REQUESTS} requests of ${BYTES} bytes, ${DEPTH} in flight, ${reads} % reads`);
  log(`${Math.round(REQUESTS / seconds)} requests/s, ${((REQUESTS * BYTES) / seconds / 2 ** 20).toFixed(1)} MiB/s`);
  log(`latency: median ${at(0.5)}, 99 % ${at(0.99)}, worst ${at(1)}`);
  check("every request was answered", latenciesUs.length === REQUESTS);
}

function setting(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${name}: not a number`);
  return value;
}
