// Machines on qcow2 images of one folder, and what they leave there.
import { copyFileSync } from "node:fs";
import { dirtyExtents, type ShownBitmap } from "../block/drivers/qcow2/bitmap-tools.ts";
import { ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { type ImageBitmap, ImageMachine, type ImageMachineOptions } from "./image-machine.ts";

export const DISK_BYTES: number = 1 << 20;
export const NO_FLAGS: readonly string[] = [];

export class ImageRig {
  readonly folder: ImageFolder = new ImageFolder();
  readonly #machines = new Set<ImageMachine>();

  async dispose(): Promise<void> {
    for (const machine of this.#machines) await machine.quit();
    await this.folder.dispose();
  }

  /** With a node `q` on that image, or with other nodes. */
  async machine(
    image: string | Readonly<Record<string, object>>,
    options?: ImageMachineOptions,
  ): Promise<ImageMachine> {
    const file = (name: string): object => ({ driver: "file", filename: this.folder.file(name) });
    const nodes = typeof image === "string" ? { q: { driver: "qcow2", file: file(image) } } : image;
    const machine = await ImageMachine.create(nodes, options);
    this.#machines.add(machine);
    return machine;
  }

  async quit(machine: ImageMachine): Promise<void> {
    this.#machines.delete(machine);
    await machine.quit();
  }

  /** An image with 64 KiB of data, and with a bitmap `old` that has recorded them. */
  async createImage(name: string): Promise<void> {
    await this.folder.create(name, { size: DISK_BYTES });
    const machine = await this.machine(name);
    await machine.run("block-dirty-bitmap-add", { node: "q", name: "old", persistent: true });
    await machine.io("q", "write -P 1 0 64k");
    await this.quit(machine);
  }

  copy(from: string, to: string): void {
    copyFileSync(this.folder.file(from), this.folder.file(to));
  }

  /** A machine on such an image, with bitmaps that are not there yet: `new`, `off`, which does not record, and `passing`, which never will be. */
  async source(image: string, capabilities: readonly string[]): Promise<ImageMachine> {
    const machine = await this.machine(image, { capabilities });
    const added = { new: true, off: true, passing: false };
    for (const [name, persistent] of Object.entries(added))
      await machine.run("block-dirty-bitmap-add", { node: "q", name, persistent });
    await machine.io("q", "write -P 2 256k 128k");
    await machine.run("block-dirty-bitmap-disable", { node: "q", name: "off" });
    await machine.io("q", "write -P 3 512k 64k");
    return machine;
  }

  /** The bitmaps of an image that nobody uses, as a machine finds them. */
  async stored(image: string): Promise<Record<string, ImageBitmap>> {
    const machine = await this.machine({
      q: {
        driver: "qcow2",
        "read-only": true,
        file: { driver: "file", filename: this.folder.file(image), "read-only": true },
      },
    });
    const bitmaps = await machine.bitmaps();
    await this.quit(machine);
    return bitmaps;
  }

  /** The flags of bitmaps as `qemu-img info` shows them, also of an image that is in use. */
  flags(image: string): Record<string, readonly string[]> {
    const info = JSON.parse(this.folder.run("qemu-img", "info", "-U", "--output=json", image)) as {
      "format-specific": { data: { bitmaps?: ShownBitmap[] } };
    };
    const { bitmaps = [] } = info["format-specific"].data;
    return Object.fromEntries(bitmaps.map(({ name, flags }) => [name, flags]));
  }

  /** What a bitmap has recorded as a client of `qemu-nbd` sees it, in KiB. */
  dirtyKib(image: string, bitmap: string): [offset: number, length: number][] {
    return dirtyExtents(this.folder, image, bitmap).map(([offset, length]) => [offset / 1024, length / 1024]);
  }
}

/** Those that images can keep, of nodes whose names begin so. */
export function persistentOnes(bitmaps: Readonly<Record<string, ImageBitmap>>, of = ""): Record<string, ImageBitmap> {
  return Object.fromEntries(
    Object.entries(bitmaps).filter(([name, { persistent }]) => persistent && name.startsWith(of)),
  );
}
