// How a requirement on a driver is judged by a recording: predicates over accesses and lists.

import type { Access, List, Recording } from "./recording.ts";

/** A requirement that may be met by any recording for which `applies`; `faults` tells what is wrong. */
export interface Rule {
  readonly id: string;
  readonly what: string;
  readonly applies: (recording: Recording) => boolean;
  readonly faults: (recording: Recording) => readonly string[];
}

export const always = (): boolean => true;
export const modern = ({ legacy }: Recording): boolean => !legacy;
export const legacyOnly = ({ legacy }: Recording): boolean => legacy;

export function text({ kind, offset, width, value }: Access): string {
  return `${kind}${width * 8} ${offset.toString(16)}=${value.toString(16)}`;
}

/** Every access of which `right` is false is a fault. */
export function accesses(
  id: string,
  what: string,
  select: (access: Access) => boolean,
  right: (access: Access, recording: Recording) => boolean,
  applies: (recording: Recording) => boolean = always,
): Rule {
  const faults = (recording: Recording): string[] =>
    recording.log.filter((access) => select(access) && !right(access, recording)).map(text);
  return { id, what, applies: (recording) => applies(recording) && recording.log.some(select), faults };
}

/** Every list of which `right` is false is a fault. */
export function lists(
  id: string,
  what: string,
  select: (list: List) => boolean,
  right: (list: List, recording: Recording) => boolean,
): Rule {
  const faults = (recording: Recording): string[] =>
    recording.lists
      .filter((list) => select(list) && !right(list, recording))
      .map((list) => JSON.stringify(list.buffers));
  return { id, what, applies: (recording) => recording.lists.some(select), faults };
}

/** Any accesses in between are allowed; `faults` where one of `steps` is not found behind the one before. */
export function order(
  id: string,
  what: string,
  steps: readonly string[],
  applies: (recording: Recording) => boolean,
): Rule {
  const faults = ({ log }: Recording): string[] => {
    let at = 0;
    for (const step of steps) {
      at = log.findIndex((access, i) => i >= at && new RegExp(`^${step}$`).test(text(access))) + 1;
      if (at === 0) return [`no ${step}`];
    }
    return [];
  };
  return { id, what, applies, faults };
}

export function seen(id: string, what: string, applies: (recording: Recording) => boolean): Rule {
  return { id, what, applies, faults: ({ wrong }) => wrong.filter((line) => line.startsWith(id)) };
}

export const R =
  (offset: number): ((access: Access) => boolean) =>
  (access) =>
    access.kind === "R" && access.offset === offset;
export const W =
  (offset: number): ((access: Access) => boolean) =>
  (access) =>
    access.kind === "W" && access.offset === offset;
export const has = (list: List, feature: number): boolean => ((list.accepted >> BigInt(feature)) & 1n) === 1n;
export const split = ({ packed }: List): boolean => !packed;
export const packed = (list: List): boolean => list.packed;
export const type = (list: List): number => list.out.readUInt32LE(0);
export const sector = (list: List): number => Number(list.out.readBigUInt64LE(8));
export const ofType =
  (...types: number[]) =>
  (list: List): boolean =>
    types.includes(type(list));
export const ranges = (list: List): number => (list.out.length - 16) / 16;
export const readableFirst = ({ buffers }: List): boolean =>
  buffers.every(({ flags }, i) => (flags & 2) !== 0 || buffers.slice(0, i).every((before) => (before.flags & 2) === 0));

export const MODERN: readonly number[] = [
  ...[0x000, 0x004, 0x008, 0x00c, 0x010, 0x014, 0x020, 0x024, 0x030, 0x034, 0x038, 0x044, 0x050, 0x060, 0x064, 0x070],
  ...[0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0c0, 0x0fc],
];
export const LEGACY: readonly number[] = [
  ...[0x000, 0x004, 0x008, 0x00c, 0x010, 0x014, 0x020, 0x024, 0x028, 0x030, 0x034, 0x038, 0x03c, 0x040, 0x050, 0x060],
  ...[0x064, 0x070],
];
export const READ_ONLY: readonly number[] = [0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x060, 0x0fc];
export const WRITE_ONLY: readonly number[] = [
  0x014, 0x020, 0x024, 0x028, 0x030, 0x038, 0x03c, 0x050, 0x064, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4,
];
/** Widths of the fields of the configuration, by offset; 64 bits are two of 32. */
export const CONFIG_WIDTHS: ReadonlyMap<number, number> = new Map<number, number>([
  ...[
    0x00, 0x04, 0x08, 0x0c, 0x14, 0x1c, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x3c, 0x40, 0x44, 0x48, 0x4c, 0x50, 0x54, 0x58,
  ].map((at): [number, number] => [at, 4]),
  ...[0x10, 0x1a, 0x22].map((at): [number, number] => [at, 2]),
  ...[0x12, 0x13, 0x18, 0x19, 0x20, 0x38, 0x5c].map((at): [number, number] => [at, 1]),
]);
/** The feature that a field needs, by offset. */
export const CONFIG_FEATURES: readonly (readonly [number, number, number])[] = [
  [0x08, 0x0c, 1],
  [0x0c, 0x10, 2],
  [0x10, 0x14, 4],
  [0x14, 0x18, 6],
  [0x18, 0x20, 10],
  [0x20, 0x21, 11],
  [0x22, 0x24, 12],
  [0x24, 0x30, 13],
  [0x30, 0x39, 14],
  [0x3c, 0x48, 16],
  [0x48, 0x5d, 17],
];
export const config = ({ offset }: Access): boolean => offset >= 0x100;

/** Of each write to Status, the one before it: 0 after a reset. */
export function statusSteps({ log }: Recording): [number, number][] {
  const values = log.filter(W(0x070)).map(({ value }) => value);
  return values.map((value, i) => [i === 0 ? 0 : values[i - 1]!, value]);
}

/** Faults of accesses to `what`, given how often each queue read or was told something before. */
export function sizes({ log }: Recording): string[] {
  const largest = new Map<number, number>();
  const faults: string[] = [];
  for (const access of log) {
    if (R(0x034)(access)) largest.set(access.queueSel, access.value);
    if (W(0x038)(access) && access.value > (largest.get(access.queueSel) ?? 0)) faults.push(text(access));
  }
  return faults;
}

/** Accesses to what must be left alone while the selected queue is in use. */
export function whileReady({ log }: Recording, ready: number, touched: (access: Access) => boolean): string[] {
  const live = new Set<number>();
  const faults: string[] = [];
  for (const access of log) {
    if (W(0x070)(access) && access.value === 0) live.clear();
    if (W(0x0c0)(access)) live.delete(access.queueSel);
    if (touched(access) && live.has(access.queueSel)) faults.push(text(access));
    if (W(ready)(access)) live[access.value === 0 ? "delete" : "add"](access.queueSel);
  }
  return faults;
}

/** After each access for which `first`, the next one for which `relevant` must be `then`. */
export function followed(
  { log }: Recording,
  first: (access: Access) => boolean,
  then: (access: Access) => boolean,
  relevant: (access: Access) => boolean = always,
): string[] {
  return log.flatMap((access, i) => {
    if (!first(access)) return [];
    const next = log.slice(i + 1).find(relevant);
    return next !== undefined && then(next)
      ? []
      : [`${text(access)} then ${next === undefined ? "nothing" : text(next)}`];
  });
}

export const INIT_MODERN: readonly string[] = [
  ...["R32 0=74726976", "R32 4=2", "R32 8=2", "W32 70=0", "R32 70=0", "W32 70=1", "W32 70=3", "W32 14=1", "R32 10=.*"],
  ...["W32 14=0", "R32 10=.*", "W32 24=1", "W32 20=.*", "W32 24=0", "W32 20=.*", "W32 70=b", "R32 70=b", "W32 30=0"],
  ...["W32 44=1", "W32 70=f", "W32 50=.*"],
];
export const INIT_LEGACY: readonly string[] = [
  ...["R32 0=74726976", "R32 4=1", "R32 8=2", "W32 70=0", "R32 70=0", "W32 70=1", "W32 70=3", "W32 14=0", "R32 10=.*"],
  ...["W32 24=0", "W32 20=.*", "W32 28=1000", "W32 30=0", "R32 40=0", "R32 34=.*", "W32 38=.*", "W32 3c=1000"],
  ...["W32 40=[1-9a-f].*", "W32 70=7", "W32 50=0"],
];
export const QUEUE: readonly string[] = [
  "W32 30=0",
  "R32 44=0",
  "R32 34=.*",
  "W32 38=.*",
  "W32 80=.*",
  "W32 84=.*",
  "W32 90=.*",
  "W32 94=.*",
  "W32 a0=.*",
  "W32 a4=.*",
  "W32 44=1",
];

export const accepts =
  (feature: number): ((recording: Recording) => boolean) =>
  (recording) =>
    recording.log.some(W(0x020)) && ((recording.offered >> BigInt(feature)) & 1n) === 1n;
export const acceptsOffered = (id: string, feature: number): Rule => ({
  id,
  what: `accepts feature ${feature} when it is offered`,
  applies: accepts(feature),
  faults: (recording) =>
    recording.lists.every((list) => has(list, feature) || (feature === 34 && recording.name.startsWith("split")))
      ? []
      : ["not accepted"],
});

/** One header, the data, one status byte: each in descriptors of its own. */
export function framed({ buffers }: List): boolean {
  const last = buffers.at(-1)!;
  return buffers[0]!.length === 16 && (buffers[0]!.flags & 2) === 0 && last.length === 1 && (last.flags & 2) !== 0;
}
