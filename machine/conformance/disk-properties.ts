// What a case wants of its disk, in the words of QEMU's command line, where that has words for it.

import type { SubjectOptions } from "../../guest/conformance/subject.ts";

const SECTOR_BYTES = 512;

/** Why no program with QEMU's command line can make such a device; undefined when one might. */
export function unavailableDisk(options: SubjectOptions): string | undefined {
  if (options.zoned !== undefined) return "the program has no zoned disks";
  if (options.bigEndian) return "the program has no big-endian guest";
  if (options.lifetime !== undefined) return "the program has no disks that know their wear";
  if (options.secureErase !== undefined) return "the program has no disks that erase for good";
  // Without discard zeroes may still be written as holes, which is up to the filesystem.
  if (options.unmaps === false)
    return "the program has its disks in files, which may give room back whatever it is told";
  if (options.barrier === true) return "the program has no VIRTIO_BLK_F_BARRIER";
  return undefined;
}

/** What the disk says of itself, as properties of the device; none where a case does not care. */
export function diskProperties({ blockSizeBytes, geometry, topology }: SubjectOptions): readonly string[] {
  const properties: string[] = [];
  if (blockSizeBytes !== undefined) properties.push(`logical_block_size=${blockSizeBytes}`);
  if (geometry !== undefined) {
    const { cylinders, heads, sectors } = geometry;
    properties.push(`cyls=${cylinders}`, `heads=${heads}`, `secs=${sectors}`);
  }
  const block = blockSizeBytes ?? SECTOR_BYTES;
  const physical = block << (topology?.physicalBlockExp ?? 0);
  if (physical > SECTOR_BYTES) properties.push(`physical_block_size=${physical}`);
  if (topology !== undefined) {
    properties.push(`min_io_size=${topology.minIoBlocks * block}`, `opt_io_size=${topology.optIoBlocks * block}`);
  }
  return properties;
}
