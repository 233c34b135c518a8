// Commands that make, change and delete block nodes and images: docs/reference/corrections.md A6 and A11, monitor.md §1.3 and §3.

import { BlockError } from "../../base/errors.ts";
import { tracePoint } from "../../base/trace.ts";
import { warn } from "../../base/warnings.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { JobList } from "../../job/job-list.ts";
import { type Command, defineCommand } from "../command.ts";
import {
  blockdevCreateOptions,
  blockdevOptions,
  toBlockdevCreateOptions,
  toBlockdevOptions,
} from "../schema/blockdev-options.ts";
import { array, bool, int, object, optional, str, uint64 } from "../schema/types.ts";
import { CreateJob } from "./blockdev-create-job.ts";

const closeFailed = tracePoint("bdrv_close_failed");

/** What these commands need of the machine. */
export interface BlockdevServices {
  readonly graph: BlockGraph;
  readonly jobs: JobList;
}

/** blockdev-add, -del, -reopen, -create, block_resize and block-set-write-threshold. */
export function blockdevCommands({ graph, jobs }: BlockdevServices): Command[] {
  return [
    defineCommand({
      name: "blockdev-add",
      arguments: blockdevOptions,
      async run(options) {
        await graph.add(toBlockdevOptions(options));
      },
    }),
    defineCommand({
      name: "blockdev-del",
      arguments: object({ "node-name": str }),
      run: (args) => deleteNode(graph, args["node-name"]),
    }),
    defineCommand({
      name: "blockdev-set-active",
      arguments: object({ "node-name": optional(str), active: bool }),
      run({ "node-name": name, active }) {
        if (name !== undefined) return graph.setActive(name, active);
        return active ? graph.activateAll() : graph.inactivateAll();
      },
    }),
    defineCommand({
      name: "blockdev-reopen",
      arguments: object({ options: array(blockdevOptions) }),
      run: ({ options }) => graph.reopen(options.map(toBlockdevOptions)),
    }),
    defineCommand({
      name: "blockdev-create",
      arguments: object({ "job-id": str, options: blockdevCreateOptions }),
      run({ "job-id": id, options: checked }) {
        const options = toBlockdevCreateOptions(checked);
        graph.checkCreate(options.driver);
        jobs.create({ id, driver: new CreateJob(graph, options), autoDismiss: false }).start();
      },
    }),
    defineCommand({
      name: "block_resize",
      arguments: object({ device: optional(str), "node-name": optional(str), size: int }),
      run: (args) => graph.resize(args.device, args["node-name"], Number(args.size)),
    }),
    defineCommand({
      name: "block-set-write-threshold",
      arguments: object({ "node-name": str, "write-threshold": uint64 }),
      run: (args) => graph.setWriteThreshold(args["node-name"], Number(args["write-threshold"])),
    }),
  ];
}

/**
 * The node is gone when the last flush fails, too: QEMU 7.2 was seen to answer that with success, and clients that inject errors
 * count on it.
 */
async function deleteNode(graph: BlockGraph, name: string): Promise<void> {
  try {
    await graph.delete(name);
  } catch (error) {
    if (!(error instanceof BlockError) || graph.findNode(name) !== undefined) throw error;
    // The node is gone, and the command has done what it was to do; what may be lost with it is told all the same.
    warn(`Lost what was not on stable storage while closing node '${name}': ${error.message}`);
    if (closeFailed.enabled) closeFailed.emit({ nodeName: name, errno: error.errno });
  }
}
