// The options of a node, as QMP's blockdev-add takes them: members have QMP's names, and types that its schema has checked.

import type { Clock } from "../base/clock.ts";
import type { BlockDriver, ChildRole } from "./driver.ts";
import type { ImageDamage } from "./image-damage.ts";
import type { ImageFormat, ImageGraph } from "./image-file.ts";
import type { BlockNode } from "./node.ts";
import type { DetectZeroes, NodeSettings } from "./node-settings.ts";

/** What stands in options: JSON. */
export type OptionValue =
  | string
  | number
  | boolean
  | null
  | readonly OptionValue[]
  | { readonly [member: string]: OptionValue | undefined };

/** What every driver takes. */
export interface CommonNodeOptions {
  /** `raw`, `file`, … */
  readonly driver: string;
  readonly "node-name"?: string | undefined;
  /** False: the image is somebody else's until blockdev-set-active or a migration makes it this program's. */
  readonly active?: boolean | undefined;
  readonly "read-only"?: boolean | undefined;
  /** Where the image cannot be opened for writing, open it read-only. */
  readonly "auto-read-only"?: boolean | undefined;
  /** Mind no locks of others; for read-only images. */
  readonly "force-share"?: boolean | undefined;
  readonly discard?: "ignore" | "unmap" | undefined;
  readonly "detect-zeroes"?: DetectZeroes | undefined;
  readonly cache?: { readonly direct?: boolean | undefined; readonly "no-flush"?: boolean | undefined } | undefined;
}

/** All options of a node: the common ones and its driver's. A child is given by name or by options of its own. */
export interface BlockdevOptions extends CommonNodeOptions {
  readonly [member: string]: OptionValue | undefined;
}

/** A node by its name, or the options of one that is opened for the purpose. */
export type BlockdevReference = string | BlockdevOptions;

/** What image files are made of, as QMP's blockdev-create takes it. */
export interface BlockdevCreateOptions {
  readonly driver: string;
  readonly [member: string]: OptionValue | undefined;
}

/** A child that a driver takes, by the option of that name. */
export interface ChildOption {
  readonly role: ChildRole;
  /** A driver that can do without gets none where the option is missing or null. */
  readonly required: boolean;
}

/** What a driver is opened with. */
export interface OpenContext {
  readonly options: BlockdevOptions;
  /** As the options say it, or for a node that is given within another's options, those of the upper node. */
  readonly settings: NodeSettings;
  /** False: the image is somebody else's. Nothing is written to it, and what it says now may not hold when it becomes active. */
  readonly active: boolean;
  readonly clock: Clock;
  /** The node that this option gives; not to be asked for where it is not required and not given. */
  child(role: ChildRole): BlockNode;
  /** Undefined where it is not given. */
  optionalChild(role: ChildRole): BlockNode | undefined;
  /**
   * The image that the one in `file` stands on, as its header names it: relative names are looked for where `file` is. A format that
   * the header does not tell is found out. For who takes it as the child `backing`.
   */
  openBackingFile(file: BlockNode, filename: string, format: string | undefined): Promise<BlockNode>;
  /** For a driver to tell what it has found wrong with its image. */
  readonly imageDamaged: (driver: BlockDriver, damage: ImageDamage) => void;
  /** The node that a drive's id or a node's name means, if there is one. */
  findNode(name: string): BlockNode | undefined;
}

/**
 * How drivers of one name are opened. Errors are `QmpError`s and `BlockError`s whose messages are QEMU's; what was opened until
 * then is closed again.
 */
export interface DriverOpener {
  readonly driver: string;
  /** In the order in which QEMU opens them. `file` comes before the node has its name, all others after that. */
  readonly children: readonly ChildOption[];
  open(context: OpenContext): BlockDriver | Promise<BlockDriver>;
  /**
   * What blockdev-reopen may change. Undefined: nothing at all, not even what drivers have in common.
   */
  readonly reopen?: ReopenRules;
  /** A driver that keeps in memory what an image says is opened anew when its node becomes active. */
  readonly openedAnewOnActivation?: boolean;
  /** Makes an image, for blockdev-create. Undefined where the driver has none to make. */
  create?(options: BlockdevCreateOptions, graph: ImageGraph): Promise<void>;
  /** Undefined where commands that take file names have no business with the driver. */
  readonly image?: ImageFormat;
}

/** True for the options of a child, as opposed to its name. */
export function isInlineChild(value: OptionValue | undefined): value is BlockdevOptions {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What of a driver's options may be different after blockdev-reopen. */
export interface ReopenRules {
  /** Options that may change, children among them; the driver is opened anew with them. */
  readonly changeable: readonly string[];
  /** Those of them that need not be given, and then have their defaults again. */
  readonly resettable?: readonly string[];
  /** Throws a `QmpError` where the driver's options will not do, before it is looked at what has changed. */
  check?(options: BlockdevOptions, node: BlockNode): void;
}

/**
 * What an image's name of its backing file opens, where that is not the name of a file; undefined of one that is. `format` is what the
 * image says of that image's driver. Throws a `QmpError` where the name stands for options such as blockdev-add does not take.
 */
export type OptionsNamed = (filename: string, format: string | undefined) => BlockdevOptions | undefined;
