// What a bitmap holds, as tests write it down.
import { DirtyArea, type HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";

/** All areas that `nextDirtyArea` finds, none longer than `max`, each as `[offset, length]`. */
export function dirtyAreas(bitmap: HierarchicalBitmap, max: number = Number.POSITIVE_INFINITY): [number, number][] {
  const areas: [number, number][] = [];
  const area = new DirtyArea();
  for (let at = 0; bitmap.nextDirtyArea(at, bitmap.sizeBytes, max, area); at = area.offset + area.length) {
    areas.push([area.offset, area.length]);
  }
  return areas;
}
