// What a Debian kernel boots from under v86: the kernel as Debian built it, and an initial file system around busybox.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { virtioMmioTable } from "./acpi-table.ts";
import { cpioArchive } from "./cpio.ts";
import { unpackDebianPackages, unpackedPath } from "./debian-packages.ts";

const CACHE = fileURLToPath(new URL("../../../.cache/linux", import.meta.url));
const PACKAGES = ["linux-image-686", "busybox-static", "seabios"];

/** In the order in which they have to be loaded. */
export const MODULES: readonly string[] = [
  "kernel/drivers/virtio/virtio",
  "kernel/drivers/virtio/virtio_ring",
  "kernel/drivers/virtio/virtio_mmio",
  "kernel/drivers/block/virtio_blk",
  "kernel/lib/crc16",
  "kernel/crypto/crc32c_generic",
  "kernel/fs/mbcache",
  "kernel/fs/jbd2/jbd2",
  "kernel/fs/ext4/ext4",
];

/** Where the device's registers are, and its interrupt. */
export const DEVICE = { address: 0xd000_0000, lengthBytes: 0x1000, irq: 10 } as const;

// A shell that reads commands from the serial line as from a script. An interactive one takes a background job that ends while it
// waits for a key for the end of its input now and then, and an init that ends is a kernel panic.
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /mnt
exec < /dev/null > /dev/ttyS0 2>&1
stty -F /dev/ttyS0 -echo -onlcr
echo @@ready@@
exec sh /dev/ttyS0
`;

/** The files that v86 is given. */
export interface BootFiles {
  readonly kernel: ArrayBuffer;
  readonly initrd: ArrayBuffer;
  readonly bios: ArrayBuffer;
  /** Such as 6.1.0-50-686. */
  readonly release: string;
}

/** Fetches what is missing from Debian, the first time, and puts the rest together. */
export async function bootFiles(): Promise<BootFiles> {
  await unpackDebianPackages(CACHE, PACKAGES);
  const boot = unpackedPath(CACHE, "boot");
  const kernel = readdirSync(boot).find((name) => name.startsWith("vmlinuz-"));
  if (kernel === undefined) throw new Error(`no kernel in ${boot}`);
  const release = kernel.slice("vmlinuz-".length);
  return {
    release,
    kernel: contentOf(`${boot}/${kernel}`),
    bios: contentOf(unpackedPath(CACHE, "usr/share/seabios/bios.bin")),
    initrd: exactBuffer(initialFiles(unpackedPath(CACHE, `lib/modules/${release}`))),
  };
}

/** The kernel looks for ACPI tables in an archive at the very start; the file system follows in another. */
function initialFiles(modules: string): Buffer {
  const tables = cpioArchive([{ path: "kernel/firmware/acpi/ssdt.aml", content: virtioMmioTable(DEVICE) }]);
  const folders = ["bin/", "dev/", "proc/", "sys/", "lib/"].map((path) => ({ path }));
  const files = cpioArchive([
    ...folders,
    { path: "init", content: INIT, executable: true },
    { path: "bin/busybox", content: readFileSync(unpackedPath(CACHE, "bin/busybox")), executable: true },
    ...MODULES.map((module) => ({ path: modulePath(module), content: readFileSync(`${modules}/${module}.ko`) })),
  ]);
  return Buffer.concat([tables, files]);
}

/** Where the guest finds a module. */
export function modulePath(module: string): string {
  return `lib/${module.split("/").at(-1)}.ko`;
}

function contentOf(path: string): ArrayBuffer {
  return exactBuffer(readFileSync(path));
}

function exactBuffer(bytes: Buffer): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
}
