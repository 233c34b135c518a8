// A block graph for each test, with drivers of memory and of files; closed when the test is over.
import { afterEach, beforeEach } from "vitest";
import { fileOpener } from "../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockdevOptions } from "../../../src/block/graph-options.ts";
import { useTemporaryFolder } from "../drivers/file/support/temporary-folder.ts";

export const NULL = { driver: "null-co", size: 4096 };
/** Of six sectors, the last one cut off. */
export const SIX = { driver: "memory", size: 3000 };

export interface GraphRig {
  /** Of the running test. */
  readonly graph: BlockGraph;
  /** The path of a file in the running test's folder. */
  readonly inFolder: (name: string) => string;
  /** As blockdev-add does, under `name` if there is one. */
  readonly add: (options: Omit<BlockdevOptions, "node-name">, name?: string) => Promise<unknown>;
  /** Of all nodes, in the graph's order; "#" for each that users gave no name. */
  readonly names: () => string[];
}

/** Within a `describe` or a file. */
export function useGraph(): GraphRig {
  const inFolder = useTemporaryFolder();
  let graph: BlockGraph;
  beforeEach(() => {
    graph = new BlockGraph({ drivers: [rawOpener, nullOpener, memoryOpener, fileOpener()] });
  });
  afterEach(() => graph.close());
  return {
    get graph() {
      return graph;
    },
    inFolder,
    add: (options, name) =>
      graph.add({ ...options, ...(name === undefined ? {} : { "node-name": name }) } as BlockdevOptions),
    names: () => [...graph.nodes].map(({ node }) => (node.name.startsWith("#") ? "#" : node.name)),
  };
}
