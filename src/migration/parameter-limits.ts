// What the parameters of migrations may be, beyond their types, as QEMU 7.2 has it: docs/reference/migration-stream.md §5.

import { QmpError } from "../base/errors.ts";

/** By the parameter's name: the least, the most, and how its refusal says so. Others may be what their types allow. */
const LIMITS: ReadonlyMap<string, readonly [least: number, most: number, text: string]> = new Map([
  ["compress-level", [0, 9, "a value between 0 and 9"]],
  ["compress-threads", [1, 255, "a value between 1 and 255"]],
  ["decompress-threads", [1, 255, "a value between 1 and 255"]],
  ["throttle-trigger-threshold", [1, 100, "an integer in the range of 1 to 100"]],
  ["cpu-throttle-initial", [1, 99, "an integer in the range of 1 to 99"]],
  ["cpu-throttle-increment", [1, 99, "an integer in the range of 1 to 99"]],
  ["downtime-limit", [0, 2_000_000, "an integer in the range of 0 to (2000 * 1000) ms"]],
  ["multifd-channels", [1, 255, "a value between 1 and 255"]],
  ["announce-initial", [0, 100_000, "a value between 0 and 100000"]],
  ["announce-max", [0, 100_000, "a value between 0 and 100000"]],
  ["announce-rounds", [0, 1000, "a value between 0 and 1000"]],
  ["announce-step", [1, 10_000, "a value between 0 and 10000"]],
]);
const TARGET_PAGE_BYTES = 1024;

/** Throws a `QmpError` for the first of `given` that is out of its range. `throttleInitial`: what holds if that is not given. */
export function checkParameterLimits(given: Readonly<Record<string, unknown>>, throttleInitial: number): void {
  for (const [name, [least, most, text]] of LIMITS) {
    const value = given[name];
    if (value !== undefined && (Number(value) < least || Number(value) > most)) throw refusal(name, text);
  }
  const cache = given["xbzrle-cache-size"];
  if (cache !== undefined && !isCacheSize(BigInt(Number(cache))))
    throw refusal("xbzrle-cache-size", "a power of two no less than the target page size");
  const most = given["max-cpu-throttle"];
  if (most === undefined) return;
  const least = Number(given["cpu-throttle-initial"] ?? throttleInitial);
  if (Number(most) < least || Number(most) > 99)
    throw refusal("max-cpu-throttle", "an integer in the range of cpu_throttle_initial to 99");
}

function isCacheSize(bytes: bigint): boolean {
  return bytes >= TARGET_PAGE_BYTES && (bytes & (bytes - 1n)) === 0n;
}

/** QEMU writes names with underscores here. */
function refusal(name: string, text: string): QmpError {
  return new QmpError(`Parameter '${name.replaceAll("-", "_")}' expects ${text}`);
}
