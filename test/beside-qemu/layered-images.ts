// Layers of images on one another, made by Debian's programs, with a node for each in both of two programs; and what is told of images.
import { expect } from "vitest";
import { CLEAN } from "../block/drivers/qcow2/qcow2-images.ts";
import { type Twin, TwinMachines } from "./twin-machines.ts";

/** A node of a file. */
export const FILE: (filename: string) => object = (filename) => ({ driver: "file", filename });
/** A node of a qcow2 image in a file. */
export const QCOW2: (filename: string) => object = (filename) => ({ driver: "qcow2", file: FILE(filename) });

/** Layers, by the names of their nodes. */
export const SOURCES: Readonly<Record<string, object>> = {
  raw: { driver: "raw", file: FILE("raw.img") },
  bottom: QCOW2("bottom.qcow2"),
  middle: QCOW2("middle.qcow2"),
  top: QCOW2("top.qcow2"),
};

/**
 * Both programs, with the nodes `SOURCES`, of which `top` alone can be written to; `other.qcow2` is a copy of its image. There is a
 * throttle group, `group`.
 */
export async function startLayered(): Promise<TwinMachines> {
  const twins = await TwinMachines.start();
  const create = (...args: readonly string[]): void => twins.run("qemu-img", "create", "-q", "-f", ...args);
  const write = (format: string, image: string, ...commands: readonly string[]): void =>
    twins.run("qemu-io", "-f", format, ...commands.flatMap((command) => ["-c", command]), image);
  create("raw", "raw.img", "2M");
  write("raw", "raw.img", "write -P 1 0 1M", "write -P 2 1536k 512k");
  create("qcow2", "-b", "raw.img", "-F", "raw", "bottom.qcow2", "5M");
  write("qcow2", "bottom.qcow2", "write -P 3 512k 300k", "write -P 4 4M 1M");
  create("qcow2", "-b", "bottom.qcow2", "-F", "qcow2", "-o", "cluster_size=4096", "middle.qcow2", "3M");
  write("qcow2", "middle.qcow2", "write -P 5 100k 10k", "write -z 1M 64k");
  create("qcow2", "-b", "middle.qcow2", "-F", "qcow2", "-o", "extended_l2=on", "top.qcow2", "4098k");
  write("qcow2", "top.qcow2", "write -P 6 200k 2k", "write -P 7 2M 256k", "write -z 600k 64k", "write -P 8 4096k 2k");
  twins.run("cp", "top.qcow2", "other.qcow2");
  for (const [node, options] of Object.entries(SOURCES)) {
    // An image that another is open on is not written to.
    const readOnly = node === "top" ? {} : { "read-only": true };
    await twins.succeed("blockdev-add", { ...options, "node-name": node, ...readOnly });
  }
  await twins.succeed("object-add", { "qom-type": "throttle-group", id: "group" });
  return twins;
}

interface Extent {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly zero: boolean;
  readonly data: boolean;
}

/** All that `qemu-img info` tells, but for what the image takes of its host's disk. */
export function told({ folder }: Twin, image: string): object {
  const info = JSON.parse(folder.run("qemu-img", "info", "-U", "--output=json", image)) as Record<string, unknown>;
  const { "actual-size": _, ...rest } = info;
  return rest;
}

/** What of an image is where in its chain. Where in its file it is depends on which of several copies came first. */
export function mapOf({ folder }: Twin, image: string): readonly Extent[] {
  const extents = JSON.parse(folder.run("qemu-img", "map", "-U", "--output=json", image)) as Extent[];
  const merged: Extent[] = [];
  for (const { start, length, depth, zero, data } of extents) {
    const last = merged.at(-1);
    if (last?.depth === depth && last.zero === zero && last.data === data)
      merged[merged.length - 1] = { ...last, length: last.length + length };
    else merged.push({ start, length, depth, zero, data });
  }
  return merged;
}

/** The images that both have under one name are the same, and ours is sound. */
export function compareImages(twins: TwinMachines, image: string): void {
  const [ours, theirs] = twins.both;
  expect(told(ours, image)).toEqual(told(theirs, image));
  expect(mapOf(ours, image)).toEqual(mapOf(theirs, image));
  // Without what it stands on, which may be open for writing.
  expect(ours.folder.check(`json:${JSON.stringify({ ...QCOW2(image), backing: null })}`)).toBe(CLEAN);
}
