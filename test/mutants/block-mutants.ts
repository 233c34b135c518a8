// Broken rules of the block device: VIRTIO 1.4 §5.2.
import { type Mutant, mutantsOf } from "./mutant.ts";

const requests = mutantsOf("virtio-blk/block-request.ts", [
  [
    "status-byte-first",
    "writes the status into the first writable byte of the last buffer",
    "writable.offsets[last]! + writable.lengths[last]! - 1",
    "writable.offsets[last]!",
  ],
  [
    "beyond-capacity-passed",
    "passes transfers beyond the capacity on to the disk",
    "length / blk.VIRTIO_BLK_SECTOR_BYTES > limits.capacitySectors - this.sector",
    "length / blk.VIRTIO_BLK_SECTOR_BYTES > limits.capacitySectors + 8 - this.sector",
  ],
  [
    "last-sector-refused",
    "refuses the last sector",
    "length / blk.VIRTIO_BLK_SECTOR_BYTES > limits.capacitySectors - this.sector",
    "length / blk.VIRTIO_BLK_SECTOR_BYTES >= limits.capacitySectors - this.sector",
  ],
  [
    "read-only-written",
    "takes writes to a read-only disk",
    'if (limits.readOnly) return this.#reject("WriteToReadOnly"); // §5.2.6.2',
    "",
  ],
  [
    "unknown-type-is-ok",
    "answers OK to types that there are not",
    'return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_UNSUPP);\n    }\n    switch',
    'return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_OK);\n    }\n    switch',
  ],
  [
    "unknown-type-is-ioerr",
    "answers IOERR to types that it does not support",
    'return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_UNSUPP);\n    }\n    switch',
    'return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_IOERR);\n    }\n    switch',
  ],
  [
    "type-masked",
    "looks at the low bits of a type alone",
    "this.statusFollowsData = true;\n",
    "this.statusFollowsData = true;\n    this.type &= 0xff;\n",
  ],
  ["get-id-too-long", "answers GET_ID with 32 bytes", "return this.#limitDataIn(blk.VIRTIO_BLK_ID_BYTES);", "return;"],
]);

const execution = mutantsOf("virtio-blk/request-execution.ts", [
  [
    "sector-is-1024-bytes",
    "counts sectors of 1024 bytes",
    "const offset = request.sector * VIRTIO_BLK_SECTOR_BYTES;",
    "const offset = request.sector * 2 * VIRTIO_BLK_SECTOR_BYTES;",
  ],
  ["flush-not-passed-on", "answers flushes without flushing", "return backend.flush();", "return;"],
  [
    "write-zeroes-discards",
    "discards instead of writing zeroes",
    "return backend.writeZeroes(offset, lengthBytes, unmap ? UNMAP : undefined);",
    "return;",
  ],
  [
    "ranges-first-segment-only",
    "carries out the first segment of several",
    "for (let budget = RANGE_PIECE_BYTES; segment < ranges.count; ) {",
    "for (let budget = RANGE_PIECE_BYTES; segment < 1; ) {",
  ],
]);

const ranges = mutantsOf("virtio-blk/request-ranges.ts", [
  [
    "range-flags-not-checked",
    "takes flags that there are not",
    'if ((this.flags[i]! & ~known) !== 0) return "SegmentFlags";',
    "this.flags[i] = this.flags[i]! & known;",
  ],
  [
    "range-beyond-capacity",
    "takes ranges beyond the capacity",
    'if (sectors > rules.capacitySectors - this.sectors[i]!) return "BeyondCapacity";',
    "if (sectors > rules.capacitySectors - this.sectors[i]!) this.lengthsSectors[i] = 0;",
  ],
  [
    "range-too-many-segments",
    "takes more segments than it says",
    'if (count > rules.limits.maxSegments) return "TooManySegments";',
    "",
  ],
  [
    "range-too-long",
    "takes longer ranges than it says",
    'if (sectors > rules.limits.maxSectors) return "SegmentTooLong";',
    "",
  ],
]);

const completion = mutantsOf("virtio-blk/request-completion.ts", [
  [
    "error-is-ok",
    "answers OK when the disk failed",
    "      return blk.VIRTIO_BLK_S_IOERR;\n    case",
    "      return blk.VIRTIO_BLK_S_OK;\n    case",
  ],
  [
    "failed-read-has-length",
    "says of a failed read that its buffer was written",
    "if (status !== blk.VIRTIO_BLK_S_OK || !request.fillsDataIn) return 0;",
    "",
  ],
  [
    "length-without-status",
    "does not count the status byte",
    "return request.statusFollowsData ? byteLength + 1 : byteLength;",
    "return byteLength - 1;",
  ],
]);

const config = mutantsOf("virtio-blk/virtio-blk-config.ts", [
  [
    "capacity-in-bytes",
    "has its capacity in bytes",
    "this.#view.setBigUint64(CAPACITY, BigInt(sectors), this.#littleEndian);",
    "this.#view.setBigUint64(CAPACITY, BigInt(sectors) * 512n, this.#littleEndian);",
  ],
  [
    "capacity-32-bits",
    "has the lower half of its capacity alone",
    "this.#view.setBigUint64(CAPACITY, BigInt(sectors), this.#littleEndian);",
    "this.#view.setUint32(CAPACITY, sectors % 2 ** 32, this.#littleEndian);",
  ],
  [
    "config-by-words",
    "shows the whole word to an access of one byte",
    "for (let i = width - 1; i >= 0; i--) {",
    "offset -= offset % 4;\n    for (let i = width - 1; i >= 0; i--) {",
  ],
]);

const device = mutantsOf("virtio-blk/virtio-blk.ts", [
  [
    "config-writable-at-will",
    "lets a driver write what is not writeback",
    "if (!this.#config.isWriteback(offset, width)) return false;",
    "",
  ],
  [
    "capacity-kept-on-resize",
    "does not show another capacity when the disk has another size",
    "      this.#noteDisk();\n      transport.notifyConfigChange();",
    "      transport.notifyConfigChange();",
  ],
  [
    "writeback-survives-a-reset",
    "keeps writeback as the last driver set it",
    "    this.#features = 0n;\n    this.#config.writeback = this.#defaultWriteback;",
    "    this.#features = 0n;",
  ],
  [
    "queues-not-looked-at-on-driver-ok",
    "starts nothing on its own at DRIVER_OK",
    "for (const queue of this.#requests) queue.process(); // buffers may have been made available before DRIVER_OK",
    "",
  ],
]);

export const blockMutants: readonly Mutant[] = [
  ...requests,
  ...execution,
  ...ranges,
  ...completion,
  ...config,
  ...device,
];
