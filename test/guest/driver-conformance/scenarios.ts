// What drivers do while they are recorded: every layout and version over the device model, every request type over a scripted device.

import { Guest, InProcessTarget, type ProbeOptions } from "../../../guest/index.ts";
import type { IoVector } from "../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { type MachineOptions, makeMachine } from "../../devices/support/machine.ts";
import { pattern } from "../support/bytes.ts";
import { FakeDevice } from "../support/fake-device.ts";
import { Recording } from "./recording.ts";

/** Every other read completes later, so that lists stay in flight. */
class SlowDriver extends MemoryDriver {
  #reads = 0;

  override read(offsetBytes: number, into: IoVector): void | Promise<void> {
    if (this.#reads++ % 2 === 0) return super.read(offsetBytes, into);
    return new Promise((resolve) => setImmediate(resolve)).then(() => super.read(offsetBytes, into));
  }
}

/** Probes, keeps the queue full, flushes, identifies, is told of a resize, resets a queue where it can, and lets go. */
async function record(name: string, options: MachineOptions, probe: ProbeOptions): Promise<Recording> {
  const driver = new SlowDriver({ bytes: new Uint8Array(1 << 17) });
  const { memory, bank, line, node } = makeMachine({ ...options, driver });
  const recording = new Recording(name, bank, memory);
  const guest = new Guest(new InProcessTarget({ memory, region: recording, line }));
  const disk = await guest.probe(probe);
  for (let round = 0; round < 6; round++) {
    const requests: Promise<unknown>[] = [];
    for (let i = 0; i < 24; i++) {
      const at = 4096 * i;
      const { length } = requests;
      requests.push(length % 3 === 0 ? disk.write(at, pattern(512 * (1 + (i % 8)), i)) : disk.read(at, 512 * (1 + i)));
    }
    await Promise.all(requests);
    await disk.flush();
    if (round === 3 && ((disk.features >> 40n) & 1n) === 1n) await disk.resetQueue();
  }
  await disk.id();
  await node.resize(1 << 16);
  await disk.read(0, 512);
  await guest.close();
  return recording;
}

/** A disk with zones, ranges and lifetime, and every request that it takes. */
async function recordRequests(): Promise<Recording> {
  const device = new FakeDevice();
  for (const feature of [13, 14, 15, 16, 17, 12]) device.offered |= 1n << BigInt(feature);
  const view = device.configView;
  view.setUint16(0x22, 1, true);
  for (const at of [0x24, 0x30, 0x3c]) {
    view.setUint32(at, 100, true);
    view.setUint32(at + 4, 3, true);
  }
  view.setUint32(0x48, 256, true); // sectors of a zone
  view.setUint32(0x54, 16, true); // sectors of an append
  view.setUint32(0x58, 4096, true); // write granularity
  view.setUint8(0x5c, 2); // host-aware: DISCARD may be taken as well
  device.execute = (chain) => {
    device.writeStatus(chain, 0);
    const writable = chain.buffers.filter((buffer) => buffer.writable);
    const length = writable.reduce((sum, buffer) => sum + buffer.length, 0);
    for (const buffer of writable.slice(0, -1)) device.memory.viewOf(buffer.address, buffer.length).fill(0);
    return { status: 0, length };
  };
  const recording = new Recording("every request", device, device.memory);
  const guest = new Guest(new InProcessTarget({ memory: device.memory, region: recording, line: device.line }));
  const disk = await guest.probe();
  await disk.write(0, pattern(4096, 1));
  await disk.read(512, 1024);
  await disk.flush();
  await disk.id();
  await disk.lifetime();
  await disk.discard(512 * 10, 512 * 1000);
  await disk.writeZeroes(0, 512 * 700, { unmap: true });
  await disk.secureErase(0, 512 * 400);
  const zones = disk.zones!;
  await zones.report();
  for (const act of ["open", "close", "finish", "reset"] as const) await zones[act](512 * 256);
  await zones.resetAll();
  await zones.append(0, pattern(8192, 2));
  await guest.close();
  return recording;
}

const ALL = { packed: true, inOrder: true, notificationData: true, accessPlatform: true, orderPlatform: true } as const;

export async function recordAll(): Promise<Recording[]> {
  return [
    await record("split", {}, {}),
    await record("split, direct, without event index", {}, { withoutFeatures: [28, 29], queueSize: 16 }),
    await record(
      "split, in order, direct",
      { device: { offeredFeatures: ALL } },
      {
        ringLayout: "split",
        withoutFeatures: [28],
        queueSize: 16,
      },
    ),
    await record("split, in order", { device: { offeredFeatures: ALL } }, { ringLayout: "split" }),
    await record("packed", { device: { offeredFeatures: ALL } }, {}),
    await record(
      "packed, direct, without event index",
      { device: { offeredFeatures: { packed: true } } },
      {
        withoutFeatures: [28, 29],
        queueSize: 7,
      },
    ),
    await record("legacy", { legacy: true }, {}),
    await record("legacy, direct, without ANY_LAYOUT", { legacy: true }, { withoutFeatures: [27, 28], queueSize: 16 }),
    await recordRequests(),
  ];
}
