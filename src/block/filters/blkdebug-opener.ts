// Opens blkdebug nodes from options.

import { QmpError } from "../../base/errors.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener } from "../graph-options.ts";
import { PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE, PERM_WRITE_UNCHANGED } from "../permissions.ts";
import { BlkdebugDriver } from "./blkdebug.ts";
import type { InjectErrorOptions, SetStateOptions } from "./blkdebug-rules.ts";

/** As QMP's BlockPermission. */
export type BlockPermission = "consistent-read" | "write" | "write-unchanged" | "resize";

const PERMISSIONS: Readonly<Record<BlockPermission, number>> = {
  "consistent-read": PERM_CONSISTENT_READ,
  write: PERM_WRITE,
  "write-unchanged": PERM_WRITE_UNCHANGED,
  resize: PERM_RESIZE,
};

/** QMP's options that are not done here. */
const UNSUPPORTED = [
  "config",
  "align",
  "max-transfer",
  "opt-write-zero",
  "max-write-zero",
  "opt-discard",
  "max-discard",
];

/** QMP's options of `blkdebug`. */
export interface BlkdebugNodeOptions {
  readonly image: BlockdevReference;
  readonly "inject-error"?: readonly InjectErrorOptions[];
  readonly "set-state"?: readonly SetStateOptions[];
  readonly "take-child-perms"?: readonly BlockPermission[];
  readonly "unshare-child-perms"?: readonly BlockPermission[];
}

export const blkdebugOpener: DriverOpener = {
  driver: "blkdebug",
  children: [{ role: "image", required: true }],
  reopen: { changeable: [] },
  open(context): BlkdebugDriver {
    const unsupported = UNSUPPORTED.find((option) => context.options[option] !== undefined);
    if (unsupported !== undefined)
      throw new QmpError(`Block format 'blkdebug' does not support the option '${unsupported}'`);
    const options = context.options as BlockdevOptions & BlkdebugNodeOptions;
    return new BlkdebugDriver({
      image: context.child("image"),
      injectErrors: options["inject-error"] ?? [],
      setStates: options["set-state"] ?? [],
      takes: union(options["take-child-perms"] ?? []),
      unshares: union(options["unshare-child-perms"] ?? []),
    });
  },
};

function union(permissions: readonly BlockPermission[]): number {
  return permissions.reduce((all, permission) => all | PERMISSIONS[permission], 0);
}
