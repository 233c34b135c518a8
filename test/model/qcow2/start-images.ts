// Images with snapshots of their own, made by qemu-img and qemu-io, that programs of the qcow2 model test begin with.

import type { StartImage } from "./run-program.ts";
import type { ToolFolder } from "./tool-folder.ts";

const SIZE = 768 << 10;

/** Options of `qemu-img create -o`. */
const OPTIONS = [
  "compat=1.1",
  "compat=1.1,cluster_size=512,refcount_bits=8",
  "compat=1.1,cluster_size=4096,refcount_bits=64,lazy_refcounts=on",
  "compat=1.1,extended_l2=on,cluster_size=16384",
  "compat=1.1,compression_type=zstd,cluster_size=8192",
  "compat=0.10,cluster_size=1024",
  "compat=1.1,preallocation=metadata,cluster_size=2048,refcount_bits=2",
  "compat=0.10,cluster_size=65536",
  "compat=1.1,extended_l2=on,cluster_size=65536,lazy_refcounts=on",
];

/** What is written before each snapshot, and after the last. */
const STAGES: readonly (readonly [start: number, length: number, value: number, how: "-c" | "-z" | ""])[][] = [
  [
    [0, 256 << 10, 17, ""],
    [300 << 10, 70 << 10, 18, ""],
    [512 << 10, 128 << 10, 19, "-c"],
  ],
  [
    [0, 64 << 10, 20, ""],
    [128 << 10, 64 << 10, 0, "-z"],
    [500 << 10, 40 << 10, 21, ""],
  ],
  [[320 << 10, 8 << 10, 22, ""]],
];

/** An image, what it shows, and what its snapshots do, by their names. */
export interface ToolImage extends StartImage {
  readonly snapshots: ReadonlyMap<string, Uint8Array>;
}

export function makeStartImages(folder: ToolFolder): ToolImage[] {
  return OPTIONS.map((options, i) => {
    const name = `start${i}.qcow2`;
    folder.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, name, String(SIZE));
    const disk = new Uint8Array(SIZE);
    const snapshots = new Map<string, Uint8Array>();
    for (const [stage, writes] of STAGES.entries()) {
      if (stage > 0) {
        folder.run("qemu-img", "snapshot", "-c", `s${stage}`, name);
        snapshots.set(`s${stage}`, disk.slice());
      }
      const commands: string[] = [];
      for (const [start, length, value, how] of writes) {
        // Compressed clusters share clusters of the file: two bits would not do for them and the snapshots.
        if (how === "-c" && options.includes("refcount_bits=2")) continue;
        const data = how === "-z" ? ["-z"] : how === "-c" ? ["-c", "-P", String(value)] : ["-P", String(value)];
        commands.push("-c", ["write", ...data, start, length].join(" "));
        disk.fill(value, start, start + length);
      }
      folder.run("qemu-io", "-f", "qcow2", ...commands, name);
    }
    return { bytes: folder.read(name), disk, version: options.includes("compat=0.10") ? 2 : 3, snapshots };
  });
}
