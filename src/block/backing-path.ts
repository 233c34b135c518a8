// Which file an image means by the name that it has of the one it stands on: docs/reference/backup.md §2.2.

import { localPath } from "./image-file.ts";
import type { BlockNode } from "./node.ts";

/** A protocol other than that of files. */
const OTHER_PROTOCOL = /^(?!file:)[^/:]*:/;
const ANY_PROTOCOL = /^[^/:]*:/;

/** The file that a node's image is in; the node's own name where it is in none. */
export function pathBelow(node: BlockNode): string {
  return fileBelow(node) ?? node.name;
}

/**
 * The file that `name` means in the image that is in the file `path`: one in the same folder, unless the name begins at the root. Throws
 * a `QmpError` where a name means anything but a file.
 */
export function backingPath(path: string, name: string): string {
  const local = localPath(name);
  if (local.startsWith("/")) return local;
  return path.slice(0, path.lastIndexOf("/") + 1) + local;
}

/** As `backingPath`, of any name: one that means no file is what it is. */
export function backingNameIn(path: string, name: string): string {
  return OTHER_PROTOCOL.test(name) ? name : backingPath(path, name);
}

/** The name by which the program itself would open it: as `backingNameIn`, and one with a protocol is left as it is. */
export function fullBackingName(path: string, name: string): string {
  return ANY_PROTOCOL.test(name) ? name : backingPath(path, name);
}

function fileBelow(node: BlockNode): string | undefined {
  const { path, children } = node.driver;
  const below = children.find(({ role }) => role === "file" || role === "image");
  return path ?? (below === undefined ? undefined : fileBelow(below.node));
}
