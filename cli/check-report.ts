// What was found in an image, for people, for programs and as an exit status, as `qemu-img check` tells it.

import type { CheckResult } from "../src/block/drivers/qcow2/check.ts";

/** Findings of one kind that are told to people. */
const MAX_TOLD = 100;

/** The exit status: 0 clean, 2 corruptions, 3 leaks alone. */
export function checkStatus({ corruptions, leaks }: CheckResult): 0 | 2 | 3 {
  if (corruptions > 0) return 2;
  return leaks > 0 ? 3 : 0;
}

/** The fields of `qemu-img check --output=json`, where what is none is left out. */
export function checkJson(filename: string, { leaks, corruptions, endOffsetBytes, clusters }: CheckResult): object {
  const { total, allocated, fragmented, compressed } = clusters;
  const some = (name: string, count: number): object => (count === 0 ? {} : { [name]: count });
  return {
    "image-end-offset": endOffsetBytes,
    "total-clusters": total,
    "check-errors": 0,
    ...some("corruptions", corruptions),
    ...some("leaks", leaks),
    ...some("allocated-clusters", allocated),
    ...some("fragmented-clusters", fragmented),
    ...some("compressed-clusters", compressed),
    filename,
    format: "qcow2",
  };
}

/** For people, in qemu-img's words: findings, sums, and how the disk is laid out. */
export function checkText(result: CheckResult): string {
  const { damage, wrongCounts, leaks, corruptions, endOffsetBytes, clusters } = result;
  const lines: string[] = [];
  const counts = wrongCounts.slice(0, MAX_TOLD).map(({ cluster, stored, used }) => {
    const kind = stored > used ? "Leaked cluster" : "ERROR cluster";
    return `${kind} ${cluster} refcount=${stored} reference=${used}`;
  });
  lines.push(...damage.slice(0, MAX_TOLD).map((finding) => `ERROR ${finding}`), ...counts);
  const told = lines.length;
  const found = corruptions + leaks;
  if (found > told) lines.push(`... and ${found - told} more`);
  if (told > 0) lines.push("");
  if (found === 0) lines.push("No errors were found on the image.");
  if (corruptions > 0)
    lines.push(
      `${corruptions} errors were found on the image.`,
      "Data may be corrupted, or further writes to the image may corrupt it.",
    );
  if (corruptions > 0 && leaks > 0) lines.push("");
  if (leaks > 0)
    lines.push(
      `${leaks} leaked clusters were found on the image.`,
      "This means waste of disk space, but no harm to data.",
    );
  const { total, allocated, fragmented, compressed } = clusters;
  const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(2)}%`;
  if (allocated > 0)
    lines.push(
      `${allocated}/${total} = ${percent(allocated, total)} allocated, ${percent(fragmented, allocated)} fragmented, ` +
        `${percent(compressed, allocated)} compressed clusters`,
    );
  lines.push(`Image end offset: ${endOffsetBytes}`);
  return `${lines.join("\n")}\n`;
}
