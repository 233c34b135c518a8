// Image files of the qcow2 model test: a driver named `file` over files in memory, whose requests end late if chance has it.

import { BlockError } from "../../../src/base/errors.ts";
import { fillZeroes, type IoVector } from "../../../src/base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild } from "../../../src/block/driver.ts";
import type { DriverOpener } from "../../../src/block/graph-options.ts";
import { PLAIN_IMAGE } from "../../../src/block/image-file.ts";
import type { Random } from "../../support/simulation.ts";

const SECTOR = 512;
const MAX_TURNS = 3;

/** What is in a file. It outlives those who have it open. */
class Contents {
  /** Zeroes behind the end. */
  room: Uint8Array = new Uint8Array(1 << 16);
  lengthBytes = 0;

  resize(lengthBytes: number): void {
    if (lengthBytes > this.room.length) {
      const room = new Uint8Array(Math.max(lengthBytes, this.room.length * 2));
      room.set(this.room.subarray(0, this.lengthBytes));
      this.room = room;
    } else if (lengthBytes < this.lengthBytes) this.room.fill(0, lengthBytes, this.lengthBytes);
    this.lengthBytes = lengthBytes;
  }
}

/** Files by their names. */
export class MemoryFiles {
  /** The part of requests that end some turns of the event loop later. */
  delayed = 0;
  readonly #files = new Map<string, Contents>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  get names(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** A copy of what is in a file just now, flushed or not. */
  bytes(name: string): Uint8Array {
    const { room, lengthBytes } = this.#files.get(name)!;
    return room.slice(0, lengthBytes);
  }

  /** Whoever has a file of that name open keeps the old one. The bytes are the file's from now on. */
  put(name: string, bytes: Uint8Array): void {
    const contents = new Contents();
    if (bytes.length > 0) contents.room = bytes;
    contents.lengthBytes = bytes.length;
    contents.resize(Math.ceil(bytes.length / SECTOR) * SECTOR);
    this.#files.set(name, contents);
  }

  delete(name: string): void {
    this.#files.delete(name);
  }

  get opener(): DriverOpener {
    return {
      driver: "file",
      children: [],
      reopen: { changeable: [] },
      image: PLAIN_IMAGE,
      create: async ({ filename, size }) => this.put(String(filename), new Uint8Array(Number(size))),
      open: ({ options }) => {
        const filename = String(options["filename"]);
        const contents = this.#files.get(filename);
        if (contents === undefined) throw new BlockError("ENOENT", `Could not open '${filename}'`);
        return new MemoryFile(filename, contents, (effect) => this.#perform(effect));
      },
    };
  }

  /** At once; or the request ends later, and its data move at its begin or at its end. */
  #perform(effect: () => void): void | Promise<void> {
    const random = this.#random;
    if (this.delayed === 0 || !random.chance(this.delayed)) return effect();
    const early = random.chance(0.5);
    if (early) effect();
    return turns(1 + random.below(MAX_TURNS)).then(early ? undefined : effect);
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** One open file. */
class MemoryFile implements BlockDriver {
  readonly driverName: string = "file";
  readonly path: string;
  readonly readOnly: boolean = false;
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  readonly #contents: Contents;
  readonly #perform: (effect: () => void) => void | Promise<void>;

  constructor(path: string, contents: Contents, perform: (effect: () => void) => void | Promise<void>) {
    this.path = path;
    this.#contents = contents;
    this.#perform = perform;
  }

  get lengthBytes(): number {
    return this.#contents.lengthBytes;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#perform(() => vector.copyFrom(this.#contents.room, offsetBytes));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const bytes = new Uint8Array(vector.byteLength);
    vector.copyTo(bytes, 0);
    return this.#perform(() => this.#contents.room.set(bytes, offsetBytes));
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#perform(() => fillZeroes(this.#contents.room, offsetBytes, lengthBytes));
  }

  /** What a discarded range reads as nobody may rely on. */
  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#perform(() => void this.#contents.room.fill(0xdd, offsetBytes, offsetBytes + lengthBytes));
  }

  flush(): void | Promise<void> {
    return this.#perform(() => {});
  }

  blockStatus(_offsetBytes: number, lengthBytes: number): BlockStatus {
    return { lengthBytes, allocated: true, data: true, zero: false };
  }

  resize(lengthBytes: number): void | Promise<void> {
    return this.#perform(() => this.#contents.resize(Math.ceil(lengthBytes / SECTOR) * SECTOR));
  }

  async close(): Promise<void> {}
}
