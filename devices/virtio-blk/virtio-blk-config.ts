// The configuration space of the block device: VIRTIO 1.4 §5.2.4.

import type { AccessWidth } from "../../src/memory/bus.ts";

const CONFIG_BYTES = 96;

const CAPACITY = 0x00; // le64, sectors of 512 bytes
const SIZE_MAX = 0x08; // le32, bytes
const SEG_MAX = 0x0c; // le32
const BLK_SIZE = 0x14; // le32, bytes
const PHYSICAL_BLOCK_EXP = 0x18; // u8, log2 of blocks in a physical block
const ALIGNMENT_OFFSET = 0x19; // u8, blocks
const MIN_IO_SIZE = 0x1a; // le16, blocks
const OPT_IO_SIZE = 0x1c; // le32, blocks
const WRITEBACK = 0x20; // u8

/** How the disk likes to be used. Blocks are of `blockSizeBytes`. */
export interface BlockTopology {
  readonly blockSizeBytes: number;
  readonly physicalBlockExp: number;
  readonly alignmentOffsetBlocks: number;
  readonly minIoBlocks: number;
  readonly optIoBlocks: number;
}

// @virtio CFG-DEV-001 CFG-DEV-002 MMIO-DEV-026 BLK-DEV-004 BLK-DEV-020 BLK-DEV-021 BLK-DEV-024
/** The fields as bytes. Those of features that are not offered are 0. */
export class VirtioBlkConfig {
  readonly #view: DataView = new DataView(new ArrayBuffer(CONFIG_BYTES));

  constructor(options: { sizeMaxBytes: number; segMax: number; topology: BlockTopology }) {
    const { sizeMaxBytes, segMax, topology } = options;
    this.#view.setUint32(SIZE_MAX, sizeMaxBytes, true);
    this.#view.setUint32(SEG_MAX, segMax, true);
    this.#view.setUint32(BLK_SIZE, topology.blockSizeBytes, true);
    this.#view.setUint8(PHYSICAL_BLOCK_EXP, topology.physicalBlockExp);
    this.#view.setUint8(ALIGNMENT_OFFSET, topology.alignmentOffsetBlocks);
    this.#view.setUint16(MIN_IO_SIZE, topology.minIoBlocks, true);
    this.#view.setUint32(OPT_IO_SIZE, topology.optIoBlocks, true);
  }

  set capacitySectors(sectors: number) {
    this.#view.setBigUint64(CAPACITY, BigInt(sectors), true);
  }

  get writeback(): boolean {
    return this.#view.getUint8(WRITEBACK) !== 0;
  }

  set writeback(on: boolean) {
    this.#view.setUint8(WRITEBACK, on ? 1 : 0);
  }

  /** Little-endian; bytes past the end are 0. */
  read(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) {
      const byte = offset + i < CONFIG_BYTES ? this.#view.getUint8(offset + i) : 0;
      value = value * 256 + byte;
    }
    return value;
  }

  /** True for the one access that may change anything: a byte to `writeback`. */
  isWriteback(offset: number, width: AccessWidth): boolean {
    return offset === WRITEBACK && width === 1;
  }
}
