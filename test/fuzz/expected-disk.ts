// What must be on the disk and in the answers as long as the guest keeps the rules of its rings: VIRTIO 1.4 §5.2.6.

import type { FuzzZones, RequestStep } from "./program.ts";

const SECTOR_BYTES = 512;
const T_IN = 0;
const T_OUT = 1;
const T_FLUSH = 4;
const T_GET_ID = 8;
/** Types whose answer hangs on what the device offers: lifetime, discard, zeroes, erase, and those of zones. */
const OPTIONAL_TYPES: readonly number[] = [5, 10, 11, 13, 14, 15, 16, 18, 20, 22, 24, 26];
/** Those of them that change what their segments name. */
const RANGE_TYPES: readonly number[] = [11, 13, 14];
const T_ZONE_RESET_ALL = 26;
/** Those that change data of the zone that they name: an append, and a reset. */
const ZONE_TYPES: readonly number[] = [15, 24];
/** What a request may end with that the zones do not allow. */
const ZONE_STATUSES: readonly number[] = [1, 3, 4, 5, 6];

/** A request in flight and what may come of it. */
export interface ExpectedRequest {
  readonly step: RequestStep;
  readonly data: readonly { readonly address: number; readonly lengthBytes: number }[];
  readonly statusAddress: number;
  readonly payload: Uint8Array;
  /** Status bytes that it may end with. */
  readonly statuses: readonly number[];
}

/** Follows the writes that were acknowledged; exact while the disk keeps nothing and nothing fails. */
export class ExpectedDisk {
  readonly #readOnly: boolean;
  readonly #zones: FuzzZones | undefined;
  #bytes: Uint8Array = new Uint8Array(0);
  /** Sectors that some request was to change. */
  #touched: Uint8Array = new Uint8Array(0);
  exact = false;

  constructor(readOnly: boolean, zones: FuzzZones | undefined) {
    this.#readOnly = readOnly;
    this.#zones = zones;
  }

  /** A guest that keeps the rules begins, over the disk as it is. */
  begin(disk: Uint8Array, exact: boolean): void {
    this.#bytes = Uint8Array.from(disk);
    this.#touched = new Uint8Array(disk.length / SECTOR_BYTES);
    // What zones let in is theirs to say: only where data may have changed is followed then.
    this.exact = exact && this.#zones === undefined;
  }

  /** Status bytes that the request may end with, and a note of what it may change. */
  expect(step: RequestStep, dataBytes: number): number[] {
    const sector = BigInt(step.sector);
    if (!this.#readOnly && this.#zones !== undefined) this.#touchZones(this.#zones, step, sector);
    if (!this.#readOnly && (step.type === T_OUT || RANGE_TYPES.includes(step.type))) {
      this.#touch(sector, Math.ceil(dataBytes / SECTOR_BYTES));
      for (const range of step.ranges) this.#touch(BigInt(range.sector), range.sectors);
    }
    if (OPTIONAL_TYPES.includes(step.type) || step.type >= 0x8000_0000) return [0, 1, 2, 3, 4, 5, 6];
    const headerBytes = step.header.reduce((sum, length) => sum + length, 0);
    const readableBytes = headerBytes + (step.writable ? 0 : dataBytes);
    if (readableBytes < 16) return [1];
    if (headerBytes !== 16 || step.status > 1) return [0, 1, 2]; // data begins or ends elsewhere
    const transfer = step.type === T_IN || step.type === T_OUT;
    if (step.type === T_FLUSH || step.type === T_GET_ID) return [0];
    if (!transfer) return [2];
    if (step.type === T_OUT && this.#readOnly) return [1];
    if (dataBytes > 0 && step.writable !== (step.type === T_IN)) return [1];
    const capacity = BigInt(this.#touched.length);
    const fits = sector <= capacity && BigInt(dataBytes) <= (capacity - sector) * BigInt(SECTOR_BYTES);
    if (dataBytes % SECTOR_BYTES !== 0 || !fits) return [1];
    return this.#zones === undefined ? [0] : [0, ...ZONE_STATUSES];
  }

  /** The request has ended so; `data` is what lies in its buffers. Throws where that is wrong. */
  end(request: ExpectedRequest, status: number, data: Uint8Array, disk: Uint8Array): void {
    const { step, statuses, payload } = request;
    if (!statuses.includes(status))
      throw new Error(`type ${step.type} ended with ${status}, not with ${statuses.join(", ")}`);
    const from = Number(BigInt.asUintN(40, BigInt(step.sector))) * SECTOR_BYTES;
    if (status !== 0 || !this.exact || statuses.length > 1) {
      if (status === 0) this.#adopt(disk);
      return;
    }
    if (step.type === T_OUT) this.#bytes.set(payload, from);
    if (step.type === T_IN && Buffer.compare(data, this.#bytes.subarray(from, from + data.length)) !== 0) {
      throw new Error(`a read of sector ${step.sector} has other data than were written there`);
    }
  }

  /** Throws if the disk has changed where no request was to change it; is not what it must be, with every answer `known`. */
  check(disk: Uint8Array, known: boolean): void {
    if (this.exact && known && Buffer.compare(disk, this.#bytes) !== 0)
      throw new Error("the disk is not what was written to it");
    for (let sector = 0; sector < this.#touched.length; sector++) {
      if (this.#touched[sector] === 1) continue;
      const [from, to] = [sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES];
      if (Buffer.compare(disk.subarray(from, to), this.#bytes.subarray(from, to)) !== 0) {
        throw new Error(`sector ${sector} has changed, which no request was to change`);
      }
    }
  }

  #touchZones({ zoneSectors }: FuzzZones, { type }: RequestStep, sector: bigint): void {
    if (type === T_ZONE_RESET_ALL) this.#touch(0n, this.#touched.length);
    if (ZONE_TYPES.includes(type)) this.#touch(sector - (sector % BigInt(zoneSectors)), zoneSectors);
  }

  #touch(sector: bigint, sectors: number): void {
    if (sector >= BigInt(this.#touched.length)) return;
    this.#touched.fill(1, Number(sector), Number(sector) + sectors);
  }

  /** What stands there now in sectors that requests were to change. */
  #adopt(disk: Uint8Array): void {
    for (const [sector, touched] of this.#touched.entries()) {
      if (touched === 0) continue;
      const [from, to] = [sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES];
      this.#bytes.set(disk.subarray(from, to), from);
    }
  }
}
