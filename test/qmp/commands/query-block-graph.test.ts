// x-debug-query-block-graph: ids, order and permissions as QEMU 7.2 told them of the same machine.
import { afterEach, expect, it } from "vitest";
import { memoryOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { PERM_ALL, PERM_CONSISTENT_READ } from "../../../src/block/permissions.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { queryBlockGraphCommands } from "../../../src/qmp/commands/query-block-graph.ts";
import { executor } from "./support/invoke.ts";

const graph = new BlockGraph({ drivers: [memoryOpener, rawOpener] });
afterEach(async () => {
  for (const backend of [...graph.backends]) await graph.removeBackend(backend);
  await graph.close();
});

it("tells of backends and nodes, newest first, and of what each needs and shares", async () => {
  const execute = executor(queryBlockGraphCommands({ graph, jobs: new JobList() }));
  await graph.add({ driver: "memory", "node-name": "f", size: 512 });
  await graph.add({ driver: "raw", "node-name": "r", file: "f" });
  await graph.add({ driver: "memory", "node-name": "m", size: 512 });
  graph.addBackend({
    name: "d",
    node: graph.getNode("m"),
    permissions: { needs: PERM_CONSISTENT_READ, shares: PERM_ALL },
  });
  const disk = graph.addBackend({ name: "", node: graph.getNode("r") });
  disk.attachDevice({ id: undefined, path: "/machine/peripheral-anon/device[0]", shareRw: false });
  const ofDisk = {
    perm: ["write", "consistent-read"],
    "shared-perm": ["resize", "write-unchanged", "consistent-read"],
  };
  expect(await execute("x-debug-query-block-graph")).toEqual({
    nodes: [
      { id: 2, type: "block-driver", name: "m" },
      { id: 4, type: "block-driver", name: "r" },
      { id: 5, type: "block-driver", name: "f" },
      { id: 3, type: "block-backend", name: "/machine/peripheral-anon/device[0]" },
      { id: 1, type: "block-backend", name: "d" },
    ],
    edges: [
      { parent: 4, child: 5, name: "file", ...ofDisk },
      { parent: 3, child: 4, name: "root", ...ofDisk },
      {
        parent: 1,
        child: 2,
        name: "root",
        perm: ["consistent-read"],
        "shared-perm": ["resize", "write-unchanged", "write", "consistent-read"],
      },
    ],
  });
  disk.detachDevice();
});
