// The observable requirements on a driver about block requests and reserved features: docs/reference/virtio-conformance.tsv, actor "driver".

import {
  acceptsOffered,
  accesses,
  always,
  config,
  followed,
  framed,
  has,
  lists,
  modern,
  ofType,
  R,
  type Rule,
  ranges,
  sector,
} from "./rule.ts";

/** See `Rule`. */
export const blockRules: readonly Rule[] = [
  accesses(
    "BLK-DRV-004",
    "reads no writeback before FEATURES_OK",
    config,
    ({ offset, status }) => offset !== 0x120 || (status & 8) !== 0,
    modern,
  ),
  {
    id: "BLK-DRV-014",
    what: "looks at the capacity after a configuration change",
    applies: ({ log }) => log.some((access) => R(0x060)(access) && (access.value & 2) !== 0),
    faults: (recording) =>
      followed(recording, (access) => R(0x060)(access) && (access.value & 2) !== 0, R(0x100), config),
  },
  lists("BLK-DRV-017", "flushes with sector 0", ofType(4), (list) => sector(list) === 0),
  lists("BLK-DRV-018", "flushes without data", ofType(4), ({ out, room }) => out.length === 16 && room === 1),
  lists(
    "BLK-DRV-019",
    "moves whole sectors",
    ofType(0, 1),
    ({ out, room }) => (out.length - 16) % 512 === 0 && (room - 1) % 512 === 0,
  ),
  lists(
    "BLK-DRV-015",
    "stays within the capacity",
    ofType(0, 1),
    (list) => sector(list) + (list.out.length - 16 + list.room - 1) / 512 <= 2048,
  ),
  lists(
    "BLK-DRV-020",
    "sends whole segments",
    ofType(11, 13, 14),
    (list) => Number.isInteger(ranges(list)) && ranges(list) > 0,
  ),
  lists("BLK-DRV-021", "identifies with 20 bytes", ofType(8), ({ room }) => room === 21),
  lists("BLK-DRV-022", "keeps to max_discard_seg", ofType(11), (list) => ranges(list) <= 3),
  lists("BLK-DRV-023", "keeps to max_secure_erase_seg", ofType(14), (list) => ranges(list) <= 3),
  lists("BLK-DRV-024", "keeps to max_write_zeroes_seg", ofType(13), (list) => ranges(list) <= 3),
  lists("BLK-DRV-027", "discards without unmap", ofType(11), (list) => {
    for (let at = 16; at < list.out.length; at += 16) if (list.out.readUInt32LE(at + 12) !== 0) return false;
    return true;
  }),
  lists("BLK-DRV-031", "reports from within the disk", ofType(16), (list) => sector(list) < 2048),
  lists("BLK-DRV-033", "names zones by their first sector", ofType(18, 20, 22, 24), (list) => sector(list) % 256 === 0),
  lists("BLK-DRV-034", "resets all with sector 0", ofType(26), (list) => sector(list) === 0),
  lists("BLK-DRV-035", "appends at a zone's first sector", ofType(15), (list) => sector(list) % 256 === 0),
  lists(
    "BLK-DRV-036",
    "appends in units of write_granularity",
    ofType(15),
    ({ out }) => (out.length - 16) % 4096 === 0,
  ),
  lists("BLK-DRV-037", "appends within max_append_sectors", ofType(15), ({ out }) => out.length - 16 <= 16 * 512),
  lists(
    "BLK-DRV-045",
    "has header, data and status in descriptors of their own",
    (list) => list.legacy && !has(list, 27),
    framed,
  ),
  acceptsOffered("RSVD-DRV-001", 32),
  acceptsOffered("RSVD-DRV-003", 33),
  lists("RSVD-DRV-005", "passes addresses within RAM", always, ({ buffers }) =>
    buffers.every(({ address, length }) => address >= 0x4000_0000 && address + length <= 0x4010_0000),
  ),
  acceptsOffered("RSVD-DRV-006", 34),
  acceptsOffered("RSVD-DRV-007", 36),
];
