// What qemu-io tells about an image, and how it changes its length: docs/reference/monitor.md §5.1.

import { BlockError, QmpError } from "../../base/errors.ts";
import type { BlockStatus } from "../../block/driver.ts";
import type { BlockNode } from "../../block/node.ts";
import { PERM_RESIZE, PERM_WRITE } from "../../block/permissions.ts";
import { type PreallocationMode, resizePreallocated } from "../../block/preallocated-resize.ts";
import { errorText } from "./qemu-io-aio-requests.ts";
import { type IoCommand, IoRefusal, IoUsage } from "./qemu-io-command.ts";
import { parseSize, readOptions } from "./qemu-io-options.ts";
import { sizeText } from "./qemu-io-text.ts";

const SECTOR = 512;
const PREALLOCATION_MODES: readonly PreallocationMode[] = ["off", "metadata", "falloc", "full"];

export const lengthCommand: IoCommand = {
  name: "length",
  alias: "l",
  minArguments: 0,
  maxArguments: 0,
  needs: 0,
  synopsis: "",
  description: "gets the length of the current file",
  run({ backend, services }) {
    if (backend.root === undefined) throw new IoRefusal("getlength: No medium found");
    services.output(`${sizeText(backend.lengthBytes)}\n`);
  },
};

/** Of the image's own layer, as `alloc`. */
export const mapCommand: IoCommand = {
  name: "map",
  minArguments: 0,
  maxArguments: 0,
  needs: 0,
  synopsis: "",
  description: "prints the allocated areas of a file",
  async run({ backend, services }) {
    const node = backend.root;
    if (node === undefined) throw new IoRefusal("Failed to query image length: No medium found", "monitor");
    try {
      for (let at = 0; at < node.lengthBytes; ) {
        const area = await areaAt(node, at);
        const state = area.allocated ? "    allocated" : "not allocated";
        services.output(`${sizeText(area.lengthBytes)} (${hex(area.lengthBytes)}) bytes ${state} at offset `);
        services.output(`${sizeText(at)} (${hex(at)})\n`);
        at += area.lengthBytes;
      }
    } catch (error) {
      throw new IoRefusal(`Failed to get allocation status: ${errorText(error)}`, "monitor");
    }
  },
};

export const allocCommand: IoCommand = {
  name: "alloc",
  minArguments: 1,
  maxArguments: 2,
  needs: 0,
  synopsis: "offset [count]",
  description: "checks if offset is allocated in the file",
  async run({ backend, services }, words) {
    const offset = parseSize(words[1]!);
    const asked = words[2] === undefined ? SECTOR : parseSize(words[2]);
    const node = backend.root;
    if (node === undefined) throw new IoRefusal("getlength: No medium found");
    const count = Math.max(0, Math.min(asked, node.lengthBytes - offset));
    let allocated = 0;
    try {
      for (let at = offset; at < offset + count; ) {
        const status = await node.blockStatus(at, offset + count - at);
        if (status.allocated) allocated += status.lengthBytes;
        at += status.lengthBytes;
      }
    } catch (error) {
      throw new IoRefusal(`is_allocated failed: ${errorText(error)}`);
    }
    services.output(`${allocated}/${count} bytes allocated at offset ${sizeText(offset)}\n`);
  },
};

export const infoCommand: IoCommand = {
  name: "info",
  minArguments: 0,
  maxArguments: 0,
  needs: 0,
  synopsis: "",
  description: "prints information about the current file",
  run({ backend, services }) {
    if (backend.root === undefined) throw new IoRefusal("getlength: No medium found");
    const { driverName, clusterSizeBytes = 0 } = backend.root.driver;
    services.output(`format name: ${driverName}\n`);
    services.output(`cluster size: ${sizeText(clusterSizeBytes)}\nvm state offset: 0 bytes\n`);
  },
};

/** What is wrong is told to the monitor, unlike with the other commands. */
export const truncateCommand: IoCommand = {
  name: "truncate",
  minArguments: 1,
  maxArguments: 3,
  needs: PERM_WRITE | PERM_RESIZE,
  synopsis: "[-m prealloc_mode] off",
  description: "truncates the current file at the given offset",
  async run({ backend, services }, words) {
    let mode: PreallocationMode = "off";
    const { operands } = readOptions(words, "m:", services.errorOutput, (_letter, value) => {
      const known = PREALLOCATION_MODES.find((one) => one === value);
      if (known === undefined) throw new IoRefusal(`Invalid preallocation mode '${value}'`, "monitor");
      mode = known;
    });
    if (operands.length === 0) throw new IoUsage();
    const lengthBytes = parseSize(operands[0]!);
    if (backend.root === undefined) throw new IoRefusal("No medium inserted", "monitor");
    try {
      await resizePreallocated(backend.root, lengthBytes, mode);
    } catch (error) {
      if (error instanceof BlockError || error instanceof QmpError) throw new IoRefusal(error.message, "monitor");
      throw error;
    }
  },
};

/** From `offset` on, as far as it is all allocated or all not. */
async function areaAt(node: BlockNode, offset: number): Promise<Pick<BlockStatus, "allocated" | "lengthBytes">> {
  let end = offset;
  let allocated: boolean | undefined;
  while (end < node.lengthBytes) {
    const status = await node.blockStatus(end, node.lengthBytes - end);
    allocated ??= status.allocated;
    if (status.allocated !== allocated) break;
    end += status.lengthBytes;
  }
  return { allocated: allocated === true, lengthBytes: end - offset };
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
