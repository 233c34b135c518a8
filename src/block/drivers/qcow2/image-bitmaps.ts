// The bitmaps of one open qcow2 image, as its node uses them: docs/reference/persistence-migration.md §3.

import { QmpError } from "../../../base/errors.ts";
import { BITMAP_DEFAULT, checkDirtyBitmap } from "../../../bitmap/bitmap-check.ts";
import type { DirtyBitmap } from "../../../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../../../bitmap/dirty-bitmap-list.ts";
import type { BitmapStore, NewStoredBitmap } from "../../bitmap-store.ts";
import { newBitmapConstraint } from "./bitmap-constraints.ts";
import { readBitmapDirectory } from "./bitmap-directory.ts";
import { loadImageBitmaps, markInUse } from "./bitmap-load.ts";
import { removeImageBitmap, storeImageBitmaps } from "./bitmap-store.ts";
import type { Qcow2Image } from "./image.ts";

/** The directory is read anew each time: the file alone says what is in it. */
export class Qcow2Bitmaps implements BitmapStore {
  readonly #image: Qcow2Image;
  readonly #isWritable: () => boolean;

  constructor(image: Qcow2Image, isWritable: () => boolean) {
    this.#image = image;
    this.#isWritable = isWritable;
  }

  load(list: DirtyBitmapList): Promise<void> {
    return loadImageBitmaps(this.#image, list, this.#isWritable());
  }

  store(list: DirtyBitmapList): Promise<readonly DirtyBitmap[]> {
    return storeImageBitmaps(this.#image, list, this.#isWritable());
  }

  remove(name: string): Promise<void> {
    return removeImageBitmap(this.#image, name, this.#isWritable());
  }

  checkNew(list: DirtyBitmapList, bitmap: NewStoredBitmap): void {
    const reason = newBitmapConstraint(this.#image, list, bitmap);
    if (reason !== undefined) throw new QmpError(reason);
  }

  async checkResize(list: DirtyBitmapList): Promise<void> {
    const { file, header, layout } = this.#image;
    for (const { name } of await readBitmapDirectory(file, header, layout)) {
      const bitmap = list.find(name);
      if (bitmap === undefined)
        throw new QmpError("Cannot resize qcow2 with persistent bitmaps that were not loaded into memory");
      checkDirtyBitmap(bitmap, BITMAP_DEFAULT);
    }
  }

  /** §3.4 */
  async reopenReadWrite(list: DirtyBitmapList): Promise<void> {
    const { file, header, layout } = this.#image;
    const entries = await readBitmapDirectory(file, header, layout);
    const image = file.node.name;
    const made: DirtyBitmap[] = [];
    let marks = false;
    for (const entry of entries) {
      const { name } = entry;
      const bitmap = list.find(name);
      if (bitmap === undefined) throw new QmpError(`Unexpected bitmap '${name}' in image '${image}'`);
      if (!entry.inUse) {
        if (!bitmap.readonly)
          throw new QmpError(
            `Corruption: bitmap '${name}' is not marked IN_USE in the image '${image}' and not marked readonly in RAM`,
          );
        if (bitmap.inconsistent)
          throw new QmpError(
            `Corruption: bitmap '${name}' is inconsistent but is not marked IN_USE in the image '${image}'`,
          );
        entry.inUse = true;
        marks = true;
      } else if (bitmap.readonly && !bitmap.inconsistent)
        throw new QmpError(
          `Corruption: bitmap '${name}' is marked IN_USE in the image '${image}' but it is readonly and consistent in RAM`,
        );
      if (bitmap.readonly) made.push(bitmap);
    }
    if (marks) {
      if (file.node.readOnly) throw new QmpError("Failed to reopen bitmaps rw: no write access the protocol file");
      await markInUse(this.#image, entries, "Cannot update bitmap directory");
    }
    for (const bitmap of made) bitmap.setReadonly(false);
  }
}
