// Opens blkdebug nodes from options.

import { BlockError, QmpError, strerror } from "../../base/errors.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener } from "../graph-options.ts";
import { PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE, PERM_WRITE_UNCHANGED } from "../permissions.ts";
import { BLKDEBUG_EVENTS, BlkdebugDriver } from "./blkdebug.ts";
import { type BlkdebugConfig, parseBlkdebugConfig } from "./blkdebug-config.ts";
import { type BlkdebugLimitOptions, limitsOf } from "./blkdebug-limits.ts";
import type { InjectErrorOptions, SetStateOptions } from "./blkdebug-rules.ts";

/** As QMP's BlockPermission. */
export type BlockPermission = "consistent-read" | "write" | "write-unchanged" | "resize";

const PERMISSIONS: Readonly<Record<BlockPermission, number>> = {
  "consistent-read": PERM_CONSISTENT_READ,
  write: PERM_WRITE,
  "write-unchanged": PERM_WRITE_UNCHANGED,
  resize: PERM_RESIZE,
};

/** QMP's options of `blkdebug`. */
export interface BlkdebugNodeOptions extends BlkdebugLimitOptions {
  /** The name of a file with more rules, which go before those of the options. */
  readonly config?: string;
  readonly image: BlockdevReference;
  readonly "inject-error"?: readonly InjectErrorOptions[];
  readonly "set-state"?: readonly SetStateOptions[];
  readonly "take-child-perms"?: readonly BlockPermission[];
  readonly "unshare-child-perms"?: readonly BlockPermission[];
}

/** What blkdebug nodes reach beyond the block layer. */
export interface BlkdebugServices {
  /** The text of a file of the host. Rejects with a `BlockError`. Absent: there are no files, and `config` is refused. */
  readonly readConfig?: (path: string) => Promise<string>;
  /** Standard output of the program: what breakpoints do is told there. */
  readonly print?: (text: string) => void;
}

export function blkdebugOpenerWith({ readConfig, print }: BlkdebugServices): DriverOpener {
  return {
    driver: "blkdebug",
    children: [{ role: "image", required: true }],
    reopen: { changeable: [] },
    async open(context): Promise<BlkdebugDriver> {
      const options = context.options as BlockdevOptions & BlkdebugNodeOptions;
      const { injectErrors, setStates } = await readRules(options.config, readConfig);
      return new BlkdebugDriver({
        image: context.child("image"),
        injectErrors: [...injectErrors, ...(options["inject-error"] ?? [])],
        setStates: [...setStates, ...(options["set-state"] ?? [])],
        takes: union(options["take-child-perms"] ?? []),
        unshares: union(options["unshare-child-perms"] ?? []),
        limits: limitsOf(options),
        print,
      });
    },
  };
}

/** With nothing beyond the block layer. */
export const blkdebugOpener: DriverOpener = blkdebugOpenerWith({});

async function readRules(
  path: string | undefined,
  readConfig: BlkdebugServices["readConfig"],
): Promise<BlkdebugConfig> {
  if (path === undefined) return { injectErrors: [], setStates: [] };
  if (readConfig === undefined) throw new QmpError("Block format 'blkdebug' does not support the option 'config'");
  let text: string;
  try {
    text = await readConfig(path);
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new QmpError(`Could not read blkdebug config file: ${strerror(error.errno)}`);
  }
  return parseBlkdebugConfig(text, BLKDEBUG_EVENTS);
}

function union(permissions: readonly BlockPermission[]): number {
  return permissions.reduce((all, permission) => all | PERMISSIONS[permission], 0);
}
