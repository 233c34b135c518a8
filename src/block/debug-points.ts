// Breakpoints for requests: what a monitor's break, resume and remove_break do. docs/reference/monitor.md §5.1.

import type { Errno } from "../base/errors.ts";
import type { BlockNode } from "./node.ts";

/** What a driver offers that can make requests stop at named points of their way. */
export interface DebugPoints {
  /** The next request that comes to `event` stops there, under `tag`. Undefined, or why there is no such breakpoint. */
  setBreakpoint(event: string, tag: string): Errno | undefined;
  /** Takes all breakpoints of a tag back and lets its requests go on. ENOENT if there was no breakpoint, whatever went on. */
  removeBreakpoint(tag: string): Errno | undefined;
  /** Lets the request go on that stopped last under the tag. ENOENT if there is none. */
  resume(tag: string): Errno | undefined;
  /** A request has stopped under the tag. */
  isSuspended(tag: string): boolean;
}

/** The driver with such points that is nearest below `node`, itself included. */
export function debugPointsOf(node: BlockNode): DebugPoints | undefined {
  for (let at: BlockNode | undefined = node; at !== undefined; at = primaryChild(at)) {
    if (at.driver.debugPoints !== undefined) return at.driver.debugPoints;
  }
  return undefined;
}

/** The node that holds the image of this one. */
export function primaryChild(node: BlockNode): BlockNode | undefined {
  return node.driver.children.find(({ role }) => role === "file" || role === "image")?.node;
}
