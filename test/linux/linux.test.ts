// A stock Debian Linux, under v86, with our device as its disk: what its drivers do with it, in every kind of ring.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RingFeatures } from "../../devices/virtio-features.ts";
import { subscribeTrace } from "../../src/base/trace.ts";
import { type BootFiles, bootFiles } from "./support/linux-boot.ts";
import { BAD_SECTOR, DISK_BYTES, host, LinuxDisk, MIB, makeImage } from "./support/linux-disk.ts";
import { LinuxGuest } from "./support/linux-guest.ts";

const FETCH_TIMEOUT_MS = 600_000;
const BOOT_TIMEOUT_MS = 240_000;

const SECTORS = DISK_BYTES / 512;
const GREETING = Buffer.from("made on the host\n".repeat(5000));

const configurations = (["split", "packed"] as const).flatMap((layout) =>
  [true, false].flatMap((eventIndex) =>
    [true, false].map((indirect) => ({
      title: `${layout} rings, ${eventIndex ? "with" : "without"} event index, ${indirect ? "with" : "without"} indirect`,
      rings: { packed: layout === "packed", eventIndex, indirect } satisfies RingFeatures,
    })),
  ),
);

let files: BootFiles;
/** A machine that has booted and not yet looked at its disk. */
let booted: ArrayBuffer;

beforeAll(async () => {
  files = await bootFiles();
}, FETCH_TIMEOUT_MS);

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "vblk-linux-"));
  const disk = await LinuxDisk.open(makeImage(folder, {}), {});
  const guest = await LinuxGuest.boot(files, disk.device);
  booted = await guest.save();
  await guest.end();
  await disk.close();
  rmSync(folder, { recursive: true });
}, BOOT_TIMEOUT_MS);

/** A guest that has loaded its drivers, on a disk with a file system from the host. */
class Rig {
  readonly folder: string;
  readonly image: string;
  readonly disk: LinuxDisk;
  readonly guest: LinuxGuest;

  private constructor(folder: string, image: string, disk: LinuxDisk, guest: LinuxGuest) {
    this.folder = folder;
    this.image = image;
    this.disk = disk;
    this.guest = guest;
  }

  static async make(rings: RingFeatures, options: { readOnly?: boolean; legacy?: boolean } = {}): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), "vblk-linux-"));
    const image = makeImage(folder, { greeting: GREETING });
    const disk = await LinuxDisk.open(image, rings, options.readOnly);
    const guest = await LinuxGuest.resume(booted, files, disk.device, options.legacy);
    await guest.loadDrivers();
    return new Rig(folder, image, disk, guest);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async end(): Promise<void> {
    await this.guest.end();
    await this.disk.close();
    rmSync(this.folder, { recursive: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The file's content, as the host's own tools read it from the image. */
function readBack(rig: Rig, image: string, name: string): Buffer {
  host("debugfs", "-R", `dump ${name} ${rig.path("dumped")}`, image);
  return readFileSync(rig.path("dumped"));
}

/** What the guest's block layer counts: Documentation/block/stat of its kernel. */
async function requestsDone(guest: LinuxGuest): Promise<{ discardedSectors: number; flushes: number }> {
  const fields = (await guest.run("cat /sys/block/vda/stat")).trim().split(/\s+/).map(Number);
  return { discardedSectors: fields[13]!, flushes: fields[15]! };
}

/** An image of a file system that was in use is whole once its journal has been replayed. */
function expectCleanAfterReplay(image: string): void {
  host("e2fsck", "-y", "-E", "journal_only", image);
  host("e2fsck", "-f", "-n", image);
}

for (const { title, rings } of configurations) {
  describe(title, () => {
    let rig: Rig;
    beforeAll(async () => {
      rig = await Rig.make(rings);
    });
    afterAll(() => rig?.end());

    it("is found with its size and its serial number", async () => {
      expect(await rig.guest.run("cat /sys/block/vda/size /sys/block/vda/serial")).toBe(`${SECTORS}\nlinux`);
      const features = await rig.guest.run("cat /sys/bus/virtio/devices/virtio0/features");
      const accepted = (bit: number): boolean => features[bit] === "1";
      expect({ packed: accepted(34), eventIndex: accepted(29), indirect: accepted(28) }).toEqual(rings);
    });

    it("shows the guest what the host has written to its file system, and writes zeroes for it", async () => {
      // The host has left tables for the guest to clear, which has the device write the zeroes.
      let zeroesWritten = false;
      const unsubscribe = subscribeTrace("bdrv_co_pwrite_zeroes", () => {
        zeroesWritten = true;
      });
      await rig.guest.run("mount -t ext4 -o init_itable=0 /dev/vda /mnt");
      expect(await rig.guest.run("sha256sum < /mnt/greeting")).toContain(sha256(GREETING));
      while (!zeroesWritten) await new Promise((resolve) => setTimeout(resolve, 20));
      unsubscribe();
    });

    it("carries out flushes and discards", async () => {
      const { guest } = rig;
      const before = await requestsDone(guest);
      await guest.run(
        "dd if=/dev/urandom of=/mnt/trash bs=64k count=64 && sync && rm /mnt/trash && sync && fstrim /mnt",
      );
      const after = await requestsDone(guest);
      expect(after.flushes).toBeGreaterThan(before.flushes);
      expect(after.discardedSectors).toBeGreaterThan(before.discardedSectors + (4 * MIB) / 512);
    });

    it("is backed up, in full and then what has changed, while the guest writes to its file system", async () => {
      const { guest, disk } = rig;
      await guest.run(
        "(i=0; while [ ! -e /stop ]; do i=$((i+1)); dd if=/dev/urandom of=/mnt/busy$((i%7)) bs=32k count=9 2> /dev/null;" +
          " [ $((i%3)) = 0 ] && sync; done; touch /stopped) < /dev/null > /dev/null 2>&1 &",
      );
      await guest.run("while [ ! -e /mnt/busy3 ]; do usleep 10000; done");
      await disk.addTarget("full", rig.path("full.img"));
      const target = (name: string, sync: string, extra: object = {}): object => ({
        type: "blockdev-backup",
        data: { "job-id": name, device: "disk", target: name, sync, speed: 24 * MIB, ...extra },
      });
      const add = { type: "block-dirty-bitmap-add", data: { node: "disk", name: "since-full" } };
      await disk.execute("transaction", { actions: [add, target("full", "full")] });
      await disk.jobsDone();
      await guest.run("cp /mnt/greeting /mnt/between && sync");
      await disk.addTarget("changes", rig.path("changes.img"));
      host("cp", rig.path("full.img"), rig.path("changes.img"));
      await disk.execute("transaction", { actions: [target("changes", "incremental", { bitmap: "since-full" })] });
      await disk.jobsDone();
      await guest.run("touch /stop; while [ ! -e /stopped ]; do usleep 10000; done");
      for (const name of ["full", "changes"]) {
        await disk.execute("blockdev-del", { "node-name": name });
        expectCleanAfterReplay(rig.path(`${name}.img`));
        expect(sha256(readBack(rig, rig.path(`${name}.img`), "greeting"))).toBe(sha256(GREETING));
      }
      expect(sha256(readBack(rig, rig.path("changes.img"), "between"))).toBe(sha256(GREETING));
    });

    it("holds what the guest has written, for the host to read", async () => {
      const { guest } = rig;
      const sum = await guest.run(
        "dd if=/dev/urandom of=/mnt/fromguest bs=10k count=77 2> /dev/null; sha256sum < /mnt/fromguest",
      );
      await guest.run("sync && umount /mnt");
      host("e2fsck", "-f", "-n", rig.image);
      expect(sum).toContain(sha256(readBack(rig, rig.image, "fromguest")));
    });

    it("reads zeroes where the guest has discarded", async () => {
      const { guest } = rig;
      await guest.run("dd if=/dev/urandom of=/dev/vda bs=1M seek=50 count=1 conv=notrunc && sync");
      await guest.run(`blkdiscard -o ${50 * MIB} -l ${MIB} /dev/vda && echo 3 > /proc/sys/vm/drop_caches`);
      const zeroes = sha256(new Uint8Array(MIB));
      expect(await guest.run("dd if=/dev/vda bs=1M skip=50 count=1 2> /dev/null | sha256sum")).toContain(zeroes);
    });

    it("fails a read of a bad sector in the guest, and goes on", async () => {
      const { status, output } = await rig.guest.try(`dd if=/dev/vda of=/dev/null bs=512 skip=${BAD_SECTOR} count=1`);
      expect(status).not.toBe(0);
      expect(output).toContain("I/O error");
      await rig.guest.run("dd if=/dev/vda of=/dev/null bs=64k count=4");
    });

    it("tells the guest of another size", async () => {
      await rig.disk.execute("block_resize", { "node-name": "disk", size: DISK_BYTES + 16 * MIB });
      const size = (DISK_BYTES + 16 * MIB) / 512;
      await rig.guest.run(`while [ "$(cat /sys/block/vda/size)" != ${size} ]; do usleep 10000; done`);
    });

    it("is unbound from its driver, and bound again", async () => {
      const driver = "/sys/bus/virtio/drivers/virtio_blk";
      await rig.guest.run(`echo virtio0 > ${driver}/unbind && [ ! -e /dev/vda ] && echo virtio0 > ${driver}/bind`);
      await rig.guest.run("while [ ! -e /dev/vda ]; do usleep 10000; done; dd if=/dev/vda of=/dev/null bs=64k count=4");
    });
  });
}

for (const { title, rings } of configurations) {
  it(`is read-only for the guest too: ${title}`, async () => {
    const rig = await Rig.make(rings, { readOnly: true });
    try {
      expect(await rig.guest.run("cat /sys/block/vda/ro")).toBe("1\n");
      await rig.guest.run("mount -t ext4 -o ro /dev/vda /mnt");
      expect(await rig.guest.run("sha256sum < /mnt/greeting")).toContain(sha256(GREETING));
      expect((await rig.guest.try("dd if=/dev/zero of=/dev/vda bs=4k count=1")).status).not.toBe(0);
    } finally {
      await rig.end();
    }
  });
}

it("serves a guest through the legacy registers", async () => {
  const rig = await Rig.make({}, { legacy: true });
  try {
    await rig.guest.run("mount -t ext4 /dev/vda /mnt");
    expect(await rig.guest.run("sha256sum < /mnt/greeting")).toContain(sha256(GREETING));
    await rig.guest.run("dd if=/dev/urandom of=/mnt/x bs=64k count=9 && sync && umount /mnt");
    host("e2fsck", "-f", "-n", rig.image);
  } finally {
    await rig.end();
  }
});
