// The settings of a node from its options and, for one that is given within another's options, from what it inherits.

import { QmpError } from "../base/errors.ts";
import type { ChildRole } from "./driver.ts";
import type { BlockdevOptions } from "./graph-options.ts";
import { DEFAULT_NODE_SETTINGS, type NodeSettings } from "./node-settings.ts";

/** Of a node that stands in nobody's options. */
export const NOTHING_INHERITED: NodeSettings = { readOnly: false, ...DEFAULT_NODE_SETTINGS };

export function settingsOf(options: BlockdevOptions, inherited: NodeSettings): NodeSettings {
  const { cache } = options;
  return {
    readOnly: options["read-only"] ?? inherited.readOnly,
    autoReadOnly: options["auto-read-only"] ?? inherited.autoReadOnly,
    forceShare: options["force-share"] ?? inherited.forceShare,
    discard: options.discard ?? inherited.discard,
    detectZeroes: options["detect-zeroes"] ?? "off",
    cacheDirect: cache?.direct ?? inherited.cacheDirect,
    cacheNoFlush: cache?.["no-flush"] ?? inherited.cacheNoFlush,
  };
}

/** Throws a `QmpError` with QEMU's text where two are against one another in a node that is opened. */
export function checkSettings(settings: NodeSettings): void {
  if (settings.forceShare && !settings.readOnly)
    throw new QmpError("force-share=on can only be used with read-only images");
  checkDetectZeroes(settings);
}

/** Of those settings that matter to a node that is open already. */
export function checkDetectZeroes(settings: NodeSettings): void {
  if (settings.detectZeroes === "unmap" && settings.discard !== "unmap")
    throw new QmpError("setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
}

/** What a child that is given within the options of a node with these settings has by default. */
export function inheritedBy(role: ChildRole, settings: NodeSettings): NodeSettings {
  const { forceShare, cacheDirect, cacheNoFlush } = settings;
  const readOnly = role === "backing" || settings.readOnly;
  const autoReadOnly = role !== "backing" && settings.autoReadOnly;
  return {
    ...NOTHING_INHERITED,
    readOnly,
    autoReadOnly,
    forceShare,
    discard: "unmap",
    cacheDirect,
    cacheNoFlush,
  };
}
