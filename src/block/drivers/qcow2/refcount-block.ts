// One number in a refcount block: docs/reference/persistence-migration.md §1.2.

import { getUint64, setUint64 } from "./format.ts";
import type { CachedTable } from "./table-cache.ts";

/** The count in slot `slot` of a block of counts of 2^order bits; those of less than a byte begin with the lowest bits. */
export function getRefcount({ bytes, view }: CachedTable, order: number, slot: number): number {
  switch (order) {
    case 3:
      return bytes[slot]!;
    case 4:
      return view.getUint16(slot * 2);
    case 5:
      return view.getUint32(slot * 4);
    case 6:
      return getUint64(view, slot * 8);
    default: {
      const bits = 1 << order;
      const at = slot * bits;
      return (bytes[at >>> 3]! >>> (at & 7)) & ((1 << bits) - 1);
    }
  }
}

export function setRefcount(block: CachedTable, order: number, slot: number, count: number): void {
  const { bytes, view } = block;
  const at = Math.floor((slot * 2 ** order) / 8);
  switch (order) {
    case 3:
      bytes[slot] = count;
      break;
    case 4:
      view.setUint16(slot * 2, count);
      break;
    case 5:
      view.setUint32(slot * 4, count);
      break;
    case 6:
      setUint64(view, slot * 8, count);
      break;
    default: {
      const bits = 1 << order;
      const shift = (slot * bits) & 7;
      const mask = ((1 << bits) - 1) << shift;
      bytes[at] = (bytes[at]! & ~mask) | (count << shift);
    }
  }
  block.markDirty(at, at + Math.max(1, 2 ** order / 8));
}

/** The greatest count that fits. */
export function maxRefcount(order: number): number {
  return 2 ** (2 ** order) - 1;
}
