// A driver that breaks rules, one at a time, and shows what the device makes of each: its answer, and that a reset heals all.
//
//   vblk run examples/rule-breaker.ts

import {
  type Guest,
  type RawSplitQueue,
  VIRTIO_BLK_T_IN,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "virtio-blk/guest";
import type { ScriptContext } from "virtio-blk/machine";

const QUEUE_SIZE = 8;
const BEYOND_RAM = 0xffff_ffff_f000n;
const READY = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;

/** A read of one sector in three descriptors: header, data, status. Each crime changes something about it. */
interface Scene {
  readonly guest: Guest;
  readonly queue: RawSplitQueue;
  readonly header: number;
  readonly data: number;
  readonly status: number;
}

interface Crime {
  readonly what: string;
  readonly commit: (scene: Scene) => void;
  /** What is published as the head of the chain; 0 unless said. */
  readonly head?: number;
  /** `needs reset`, or the status byte that answers the request: 0 where the crime is ignored. */
  readonly expected: "needs reset" | number;
}

const CRIMES: readonly Crime[] = [
  {
    what: "a descriptor that follows itself",
    commit: ({ queue }) => queue.writeDescriptor(0, { ...queue.readDescriptor(0), next: 0 }),
    expected: "needs reset",
  },
  {
    what: "a head beyond the queue",
    commit: () => {},
    head: QUEUE_SIZE,
    expected: "needs reset",
  },
  {
    what: "more buffers made available than the queue has",
    commit: ({ queue }) => {
      queue.availIdx = QUEUE_SIZE; // and publish adds one
    },
    expected: "needs reset",
  },
  {
    what: "a status byte outside RAM",
    commit: ({ queue }) => queue.writeDescriptor(2, { ...queue.readDescriptor(2), address: BEYOND_RAM }),
    expected: "needs reset",
  },
  {
    what: "data outside RAM",
    commit: ({ queue }) => queue.writeDescriptor(1, { ...queue.readDescriptor(1), address: BEYOND_RAM }),
    expected: 1,
  },
  {
    what: "a sector beyond the end",
    commit: ({ guest, header }) => guest.target.writeRam64(header + 8, 2n ** 64n - 1n),
    expected: 1,
  },
  {
    what: "half a sector",
    commit: ({ queue }) => queue.writeDescriptor(1, { ...queue.readDescriptor(1), lengthBytes: 256 }),
    expected: 1,
  },
  {
    what: "a type that nobody knows",
    commit: ({ guest, header }) => guest.target.writeRam32(header, 0x77),
    expected: 2,
  },
  {
    what: "a notification for a queue that does not exist",
    commit: ({ guest }) => {
      guest.registers.queueNotify = 0xffff;
    },
    expected: 0,
  },
  {
    what: "a byte-wide write to Status",
    commit: ({ guest }) => guest.registers.write(0x070, 0, 1),
    expected: 0,
  },
];

const NO_CRIME: Crime = { what: "no crime", commit: () => {}, expected: 0 };

export async function main({ guest, log, check }: ScriptContext): Promise<void> {
  for (const crime of CRIMES) {
    const outcome = await play(guest, crime);
    log(`${crime.what}: ${typeof outcome === "number" ? `status ${outcome}` : outcome}`);
    check(`${crime.what}: answered as it should be`, outcome === crime.expected);
    check(`${crime.what}: forgotten after a reset`, (await play(guest, NO_CRIME)) === NO_CRIME.expected);
  }
}

/** Resets the device, sets the scene, commits the crime, and tells what came of it. */
async function play(guest: Guest, crime: Crime): Promise<Crime["expected"]> {
  const { registers, target } = guest;
  const scene = setTheScene(guest);
  registers.status = READY | VIRTIO_STATUS_DRIVER_OK;
  crime.commit(scene);
  scene.queue.publish(crime.head ?? 0);
  registers.queueNotify = 0;
  if (!(await guest.waitForInterrupt({ timeoutMs: 1000 }))) throw new Error(`${crime.what}: no interrupt`);
  const broken = (registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
  const outcome = broken ? "needs reset" : target.readRam8(scene.status);
  registers.status = 0;
  const { queue, header, data, status } = scene;
  for (const address of [queue.layout.descriptorTable, header, data, status]) guest.allocator.free(address);
  return outcome;
}

/** A device that is set up but not yet live, and one well-formed read that waits to be published. */
function setTheScene(guest: Guest): Scene {
  const { registers, target, allocator } = guest;
  registers.status = 0;
  registers.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
  registers.driverFeaturesSel = 1;
  registers.driverFeatures = 1; // VIRTIO_F_VERSION_1
  registers.status = READY;
  const queue = guest.rawSplitQueue(QUEUE_SIZE);
  queue.enable(registers);
  const header = allocator.allocate(16);
  const data = allocator.allocate(512);
  const status = allocator.allocate(1);
  target.fillRam(header, 0, 16);
  target.writeRam32(header, VIRTIO_BLK_T_IN);
  target.writeRam8(status, 0xff);
  queue.writeDescriptor(0, { address: header, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 1 });
  queue.writeDescriptor(1, { address: data, lengthBytes: 512, flags: VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, next: 2 });
  queue.writeDescriptor(2, { address: status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE });
  return { guest, queue, header, data, status };
}
