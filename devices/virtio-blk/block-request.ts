// A block request: the shape of the chain that carries it, and what the guest may ask for. VIRTIO 1.4 §5.2.6.

import type { IoVector } from "../../src/base/io-vector.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RequestMistake, RingMistake } from "../guest-mistake.ts";
import { DescriptorChain } from "../virtqueue/descriptor-chain.ts";
import {
  VIRTIO_BLK_HEADER_BYTES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from "./virtio-blk-constants.ts";

const TWO_TO_32 = 2 ** 32;

export type BlockRequestKind = "read" | "write" | "flush" | "get-id" | "rejected";

/** What requests are checked against. */
export interface RequestLimits {
  readonly capacitySectors: number;
  readonly readOnly: boolean;
  readonly maxDataBytes: number;
}

/**
 * One request, in a slot that is reused: refilled by `Virtqueue.pop` (its chain) and `parse` (the rest).
 *
 * The layout is free (§2.7.4): the header is the first 16 readable bytes however they are split, the status the last writable
 * byte, and the data what lies between.
 */
export class BlockRequest {
  readonly chain: DescriptorChain;
  kind: BlockRequestKind = "rejected";
  /** Type and sector as the header has them; the sector is rounded above 2^53, which no disk reaches. */
  type = 0;
  sector = 0;
  /** What to answer when the request is `rejected`. */
  status: number = VIRTIO_BLK_S_OK;
  mistake: RequestMistake | undefined = undefined;
  /** Nothing lies between what the device writes of `dataIn` and the status byte. */
  statusFollowsData = true;
  /** Where the status byte lies, counted from the start of RAM. */
  statusOffset = 0;

  constructor(memory: GuestMemory) {
    this.chain = new DescriptorChain(memory);
  }

  /** The bytes to write to the disk. */
  get dataOut(): IoVector {
    return this.chain.readable;
  }

  /** Where the bytes from the disk go. */
  get dataIn(): IoVector {
    return this.chain.writable;
  }

  // @virtio SPLIT-DEV-006 BLK-DEV-078 BLK-DEV-079
  /** Makes a request of the chain. A mistake that is returned leaves no status byte to answer it with. */
  parse(memory: GuestMemory, limits: RequestLimits): RingMistake | undefined {
    const { readable, writable } = this.chain;
    this.type = 0;
    this.sector = 0;
    if (writable.byteLength === 0) return "NoStatusByte";
    const last = writable.end - 1;
    this.statusOffset = writable.offsets[last]! + writable.lengths[last]! - 1;
    if (this.statusOffset < 0) return "StatusOutsideRam";
    writable.dropBack(1);
    if (this.chain.mistake !== undefined) this.#reject(this.chain.mistake);
    else if (readable.byteLength < VIRTIO_BLK_HEADER_BYTES) this.#reject("HeaderTooShort");
    else if (!this.#readHeader(memory)) this.#reject("HeaderOutsideRam");
    else this.#classify(limits);
    return undefined;
  }

  // @virtio BLK-DEV-037 BLK-DEV-038 BLK-DEV-054 BLK-DEV-081 BLK-DEV-083 BLK-DEV-088
  #classify(limits: RequestLimits): void {
    this.statusFollowsData = true;
    switch (this.type) {
      case VIRTIO_BLK_T_IN:
        this.kind = "read";
        return this.#checkTransfer(this.dataIn, this.dataOut, limits);
      case VIRTIO_BLK_T_OUT:
        this.kind = "write";
        if (limits.readOnly) return this.#reject("WriteToReadOnly"); // §5.2.6.2
        return this.#checkTransfer(this.dataOut, this.dataIn, limits);
      case VIRTIO_BLK_T_FLUSH:
        this.kind = "flush"; // sector and data, if any, mean nothing
        return;
      case VIRTIO_BLK_T_GET_ID:
        this.kind = "get-id";
        if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
        return this.#limitDataIn(VIRTIO_BLK_ID_BYTES);
      default:
        // The exact number decides: no bit of it means a direction or a barrier here.
        return this.#reject("UnsupportedType", VIRTIO_BLK_S_UNSUPP);
    }
  }

  // @virtio BLK-DEV-019 BLK-DEV-023 BLK-DEV-082
  #checkTransfer(data: IoVector, other: IoVector, limits: RequestLimits): void {
    const length = data.byteLength;
    if (this.chain.outsideRam) this.#reject("DataOutsideRam");
    else if (other.byteLength > 0) this.#reject("DataInWrongDirection");
    else if (length % VIRTIO_BLK_SECTOR_BYTES !== 0) this.#reject("DataNotWholeSectors");
    else if (length > limits.maxDataBytes) this.#reject("DataTooLong");
    // In sectors: a sector times 512 may pass 2^64.
    else if (length / VIRTIO_BLK_SECTOR_BYTES > limits.capacitySectors - this.sector) this.#reject("BeyondCapacity");
  }

  /** The buffer may be longer, by terabytes when its segments lie on each other: the rest stays as it is. */
  #limitDataIn(lengthBytes: number): void {
    const excess = this.dataIn.byteLength - lengthBytes;
    if (excess <= 0) return;
    this.dataIn.dropBack(excess);
    this.statusFollowsData = false;
  }

  #reject(mistake: RequestMistake, status: number = VIRTIO_BLK_S_IOERR): void {
    this.kind = "rejected";
    this.mistake = mistake;
    this.status = status;
  }

  /** Takes the header off the readable bytes; false when some of it does not lie in RAM. */
  #readHeader(memory: GuestMemory): boolean {
    const { readable } = this.chain;
    const offset = readable.offsets[readable.first]!;
    if (readable.lengths[readable.first]! < VIRTIO_BLK_HEADER_BYTES || offset % 4 !== 0) {
      return this.#gatherHeader(memory);
    }
    if (offset < 0) return false;
    const { u32 } = memory;
    const at = offset / 4;
    this.type = u32[at]!;
    this.sector = u32[at + 2]! + u32[at + 3]! * TWO_TO_32;
    readable.dropFront(VIRTIO_BLK_HEADER_BYTES);
    return true;
  }

  /** The header of a driver that splits or misaligns it: byte by byte. */
  #gatherHeader(memory: GuestMemory): boolean {
    const { readable } = this.chain;
    let type = 0;
    let sector = 0;
    let scale = 1;
    for (let i = 0; i < VIRTIO_BLK_HEADER_BYTES; i++) {
      const offset = readable.offsets[readable.first]!;
      if (offset < 0) return false;
      const byte = memory.bytes[offset]!;
      readable.dropFront(1);
      if (i === 8) scale = 1;
      if (i < 4) type += byte * scale;
      else if (i >= 8) sector += byte * scale;
      scale *= 256;
    }
    this.type = type;
    this.sector = sector;
    return true;
  }
}
