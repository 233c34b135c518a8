// The event of an image that contradicts itself, as QEMU tells it: docs/reference/persistence-migration.md §1.

import type { BlockGraph } from "../../block/graph.ts";
import { defineEvent, type EventQueue } from "../events.ts";
import { bool, object, optional, str, uint64 } from "../schema/types.ts";

const BLOCK_IMAGE_CORRUPTED = defineEvent(
  "BLOCK_IMAGE_CORRUPTED",
  object({
    device: str,
    "node-name": optional(str),
    msg: str,
    offset: optional(uint64),
    size: optional(uint64),
    fatal: bool,
  }),
);

/** Tells the monitor's clients of images that are found damaged. The function returned ends it. */
export function reportImageDamage(graph: BlockGraph, events: EventQueue): () => void {
  events.declare(BLOCK_IMAGE_CORRUPTED);
  return graph.onImageDamage((node, { reason, fatal, range }) => {
    const drive = graph.backends.find(({ name, root }) => name !== "" && root === node);
    events.emit(BLOCK_IMAGE_CORRUPTED, {
      device: drive?.name ?? "",
      "node-name": node.name,
      msg: reason,
      ...(range === undefined ? {} : { offset: range.offsetBytes, size: range.lengthBytes }),
      fatal,
    });
  });
}
