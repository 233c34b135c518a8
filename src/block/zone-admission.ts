// Between a zoned driver and its node: what the zones let in goes the way of every request, and is taken back where that fails.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { IoVector } from "../base/io-vector.ts";
import type { BlockNode } from "./node.ts";
import type { WriteOptions, WriteZeroesRequestOptions } from "./request-options.ts";
import type { BlockZones, ZoneChange, ZoneCommand } from "./zones.ts";

const ADMITTED = { admitted: true } as const;

/** A write to a zoned disk. Throws a `ZoneError` where the zones do not let it in. */
export function writeToZones(
  node: BlockNode,
  offsetBytes: number,
  vector: IoVector,
  options: WriteOptions,
): void | Promise<void> {
  const change = zonesOf(node).admitWrite(offsetBytes, vector.byteLength);
  return afterAdmission(change, () => node.write(offsetBytes, vector, { ...options, ...ADMITTED }));
}

/** Write-zeroes, which counts as a write, and erases. */
export function wipeZones(
  node: BlockNode,
  offsetBytes: number,
  lengthBytes: number,
  options: WriteZeroesRequestOptions,
): void | Promise<void> {
  const zones = zonesOf(node);
  const erase = options.erase === true;
  const change = erase ? zones.admitErase(offsetBytes, lengthBytes) : zones.admitWrite(offsetBytes, lengthBytes);
  // Nothing that an erased zone is written with from now on may be overtaken by the erase.
  const serialising = erase || options.serialising === true;
  return afterAdmission(change, () =>
    node.writeZeroes(offsetBytes, lengthBytes, { ...options, ...ADMITTED, serialising }),
  );
}

/** Writes to the zone that begins at `zoneOffsetBytes`, behind what was written before; returns where that is. */
export function appendToZone(node: BlockNode, zoneOffsetBytes: number, vector: IoVector): number | Promise<number> {
  checkWritable(node);
  const place = zonesOf(node).admitAppend(zoneOffsetBytes, vector.byteLength);
  const { offsetBytes } = place;
  const pending = afterAdmission(place, () => node.write(offsetBytes, vector, ADMITTED));
  return pending === undefined ? offsetBytes : pending.then(() => offsetBytes);
}

/** Opens, closes, finishes or resets the zone that begins at `zoneOffsetBytes`. */
export function commandZone(node: BlockNode, command: ZoneCommand, zoneOffsetBytes: number): void | Promise<void> {
  checkWritable(node);
  const zones = zonesOf(node);
  if (command !== "reset") return zones[command](zoneOffsetBytes);
  const reset = zones.reset(zoneOffsetBytes);
  if (reset === undefined) return;
  // Nothing that the zone is written with from now on may be overtaken by its own zeroes.
  const wipe = { ...ADMITTED, serialising: true, mayUnmap: node.canUnmap };
  return afterAdmission(reset, () => node.writeZeroes(reset.offsetBytes, reset.lengthBytes, wipe));
}

// @virtio BLK-DEV-096
/** Resets every zone that has something to reset; zones without a write pointer, read-only and offline ones stay as they are. */
export function resetAllZones(node: BlockNode): void | Promise<void> {
  const zones = zonesOf(node);
  const { layout } = zones;
  const pending: Promise<void>[] = [];
  for (let index = 0; index < layout.zones; index++) {
    const { state } = zones.zone(index);
    if (state === "not-write-pointer" || state === "read-only" || state === "offline") continue;
    const reset = commandZone(node, "reset", index * layout.zoneBytes);
    if (reset !== undefined) pending.push(reset);
  }
  if (pending.length > 0) return allDone(pending);
}

function afterAdmission(change: ZoneChange, request: () => void | Promise<void>): void | Promise<void> {
  let pending: void | Promise<void>;
  try {
    pending = request();
  } catch (error) {
    change.undo();
    throw error;
  }
  return pending?.catch((error) => {
    change.undo();
    throw error;
  });
}

/** Waits for every one, so that none is under way when the request ends; then fails as the first that failed. */
async function allDone(pending: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(pending);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

function zonesOf(node: BlockNode): BlockZones {
  const { zones } = node.driver;
  assert(zones !== undefined, `node '${node.name}': has no zones`);
  return zones;
}

function checkWritable(node: BlockNode): void {
  if (node.readOnly) throw new BlockError("EPERM", "Block node is read-only");
}
