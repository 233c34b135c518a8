// The points of requests that a qcow2 node tells a fault injector of: each is reached, and an error there leaves the image right.
import { readFileSync, writeFileSync } from "node:fs";
import { beforeAll, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { checkImage } from "../../../../src/block/drivers/qcow2/check.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import { BLKDEBUG_EVENTS } from "../../../../src/block/filters/blkdebug.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { ImageFolder } from "./qcow2-images.ts";

/** At these points of a qcow2 node's requests. */
const EVENTS = [
  ...["l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table"],
  ...["l1_shrink_write_table", "l1_shrink_free_l2_clusters"],
  ...["l2_load", "l2_update", "l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write"],
  ...["read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed", "cow_read", "cow_write"],
  ...["reftable_load", "reftable_grow", "reftable_update"],
  ...["refblock_load", "refblock_update", "refblock_update_part", "refblock_alloc", "refblock_alloc_hookup"],
  ...["refblock_alloc_write", "refblock_alloc_write_blocks", "refblock_alloc_write_table"],
  ...["refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_alloc_space", "cluster_free"],
  ...["flush_to_os", "flush_to_disk"],
];
/** The injector's own, and those of things that are not here: states of machines, copies on read, images that are emptied. */
const NOT_OF_QCOW2 = [
  ...["pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail"],
  ...["pwritev", "pwritev_zero", "pwritev_done", "none"],
  ...["vmstate_load", "vmstate_save", "cor_write", "empty_image_prepare"],
];

const ENOSPC = 28;
const MEGA = 1 << 20;
const SECTOR = 512;
const DISK = 4 * MEGA;
const BACKING_BYTE = 0xbb;
/** Nobody knows what a sector holds: a request to it has failed. */
const UNKNOWN = -1;

/** What each sector of the disk holds throughout. */
class Model {
  sectors: number[];
  /** As it was at the latest flush, for sectors that nobody has touched since. */
  flushed: number[];

  constructor(bytes: number, value: number) {
    this.sectors = new Array<number>(bytes / SECTOR).fill(value);
    this.flushed = [...this.sectors];
  }

  set(offset: number, length: number, value: number): void {
    for (let i = offset / SECTOR; i < (offset + length) / SECTOR; i++) {
      this.sectors[i] = value;
      this.flushed[i] = UNKNOWN;
    }
  }

  resize(bytes: number): void {
    const add = (list: number[]): number[] =>
      Array.from({ length: bytes / SECTOR }, (_, i) => list[i] ?? (list === this.flushed ? UNKNOWN : 0));
    [this.sectors, this.flushed] = [add(this.sectors), add(this.flushed)];
  }
}

/** Requests on one disk, of which any may fail. */
class Program {
  readonly failures: string[] = [];
  readonly #node: BlockNode;
  readonly #model: Model;

  constructor(node: BlockNode, model: Model) {
    this.#node = node;
    this.#model = model;
  }

  async run(): Promise<void> {
    await this.#read(0, 4096);
    await this.#read(65536, 4096);
    // A part of a cluster of the backing file's, and whole ones beside one of the snapshot's.
    await this.#write(2 * MEGA + 1024, 1536, 1);
    await this.#write(65536, 32768, 2);
    await this.#flush();
    await this.#write(3 * MEGA, 4096, 3, true);
    await this.#write(3 * MEGA + 8192, 4096, 4, true);
    await this.#read(3 * MEGA, 4096);
    await this.#discard(65536, 32768);
    await this.#flush();
    // Behind the backing file's end, into clusters that were another's.
    await this.#write(3.5 * MEGA + 512, 512, 5);
    await this.#flush();
    for (let at = 0; at < 2 * MEGA; at += 65536) await this.#write(at, 65536, 6);
    await this.#flush();
    // More than the first refcount table counts.
    await this.#resize(24 * MEGA);
    for (let at = 5 * MEGA; at < 21 * MEGA; at += MEGA) await this.#write(at, MEGA, 7);
    await this.#flush();
    await this.#resize(6 * MEGA);
    await this.#write(4096, 4096, 8);
    await this.#flush();
    await this.#flush();
  }

  async #attempt(what: string, task: () => void | Promise<void>): Promise<boolean> {
    try {
      await task();
      return true;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      expect(error.errno, what).toBe("ENOSPC");
      this.failures.push(what);
      return false;
    }
  }

  async #write(offset: number, length: number, value: number, compressed = false): Promise<void> {
    if (offset + length > this.#node.lengthBytes) return; // the disk could not grow
    const data = IoVector.of(new Uint8Array(length).fill(value));
    const done = await this.#attempt("write", () => this.#node.write(offset, data, { compressed }));
    this.#model.set(offset, length, done ? value : UNKNOWN);
  }

  async #discard(offset: number, length: number): Promise<void> {
    const done = await this.#attempt("discard", () => this.#node.discard(offset, length));
    this.#model.set(offset, length, done ? 0 : UNKNOWN);
  }

  async #read(offset: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length);
    if (!(await this.#attempt("read", () => this.#node.read(offset, IoVector.of(bytes))))) return;
    for (let i = 0; i < length / SECTOR; i++) {
      const value = this.#model.sectors[offset / SECTOR + i];
      if (value !== UNKNOWN) expect(bytes[i * SECTOR]).toBe(value);
    }
  }

  async #flush(): Promise<void> {
    if (await this.#attempt("flush", () => this.#node.flush())) this.#model.flushed = [...this.#model.sectors];
  }

  async #resize(length: number): Promise<void> {
    await this.#attempt("resize", () => this.#node.resize(length));
    this.#model.resize(this.#node.lengthBytes);
  }
}

describeWithTools(["qemu-img", "qemu-io"], "debug events of a qcow2 node", () => {
  let template: Buffer;

  // A snapshot has an L2 table and clusters together with the disk.
  beforeAll(async () => {
    const folder = new ImageFolder();
    folder.run("qemu-img", "create", "-q", "-f", "raw", "base", "3M");
    folder.run("qemu-io", "-f", "raw", "-c", `write -P ${BACKING_BYTE} 0 3M`, "base");
    const options = ["-o", "cluster_size=1k,refcount_bits=64", "-b", "base", "-F", "raw"];
    folder.run("qemu-img", "create", "-q", "-f", "qcow2", ...options, "disk.qcow2", `${DISK}`);
    folder.run("qemu-io", "-c", `write -P ${BACKING_BYTE} 64k 64k`, "disk.qcow2");
    folder.run("qemu-img", "snapshot", "-c", "snapshot", "disk.qcow2");
    template = readFileSync(folder.file("disk.qcow2"));
    await folder.dispose();
  });

  it("are all those that there are, but those of others", () => {
    expect([...EVENTS, ...NOT_OF_QCOW2].sort()).toEqual([...BLKDEBUG_EVENTS].sort());
  });

  async function runWith(event: string, once: boolean): Promise<void> {
    const folder = new ImageFolder();
    writeFileSync(folder.file("disk.qcow2"), template);
    writeFileSync(folder.file("base"), new Uint8Array(3 * MEGA).fill(BACKING_BYTE));
    const model = new Model(DISK, 0);
    model.set(0, 3 * MEGA, BACKING_BYTE);
    model.flushed = [...model.sectors];
    const image = { driver: "file", filename: folder.file("disk.qcow2") };
    const file = { driver: "blkdebug", image, "inject-error": [{ event, once, errno: ENOSPC }] };
    const small = { "l2-cache-size": 8192, "refcount-cache-size": 4096, "cache-clean-interval": 0 };
    try {
      const failures: string[] = [];
      try {
        const node = await folder.open("disk.qcow2", { ...small, file });
        const program = new Program(node, model);
        await program.run();
        failures.push(...program.failures);
        await folder.close(node);
      } catch (error) {
        if (!(error instanceof BlockError)) throw error;
        expect(error.message).toContain("No space left on device");
        failures.push("open or close");
      }
      expect(failures.length, "something failed").toBeGreaterThan(0);
      if (once) expect(failures, "one request was hit").toHaveLength(1);
      await expectRight(folder, once ? model.sectors : model.flushed);
    } finally {
      await folder.dispose();
    }
  }

  /** No table contradicts another, and known sectors hold what they should. */
  async function expectRight(folder: ImageFolder, sectors: readonly number[]): Promise<void> {
    const node = await folder.open("disk.qcow2");
    const { damage, corruptions } = await checkImage((node.driver as Qcow2Driver).image);
    expect({ damage, corruptions }).toEqual({ damage: [], corruptions: 0 });
    const disk = new Uint8Array(node.lengthBytes);
    await node.read(0, IoVector.of(disk));
    for (let i = 0; i < Math.min(sectors.length, disk.length / SECTOR); i++) {
      const value = sectors[i]!;
      if (value === UNKNOWN) continue;
      const sector = disk.subarray(i * SECTOR, (i + 1) * SECTOR);
      if (!sector.every((byte) => byte === value)) expect.fail(`sector ${i}: ${sector[0]} instead of ${value}`);
    }
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toMatch(/^(No errors were found on the image.|3: )/);
  }

  it.each(EVENTS)("%s: an error of one request fails that, and the image stays right", (event) => runWith(event, true));

  it.each(EVENTS)("%s: errors from there on leave what was flushed", (event) => runWith(event, false));
});
