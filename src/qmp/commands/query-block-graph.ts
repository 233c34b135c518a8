// x-debug-query-block-graph: who uses which node, and with which permissions. Shapes and order are those of QEMU 7.2.

import type { BlockBackend } from "../../block/backend.ts";
import type { NodeParent } from "../../block/drain.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";
import type { Permissions } from "../../block/permissions.ts";
import type { JobList } from "../../job/job-list.ts";
import { type Command, defineCommand } from "../command.ts";
import { array, enumeration, type Int64, object, str, type Type, uint64 } from "../schema/types.ts";
import { shownBackends } from "./query-block.ts";

/** Bits of a set of permissions, in their order. */
const PERMISSIONS = ["consistent-read", "write", "write-unchanged", "resize"] as const;
type PermissionName = (typeof PERMISSIONS)[number];

const KINDS = ["block-backend", "block-job", "block-driver"] as const;

/** QMP's XDbgBlockGraph. */
interface BlockGraphInfo {
  readonly nodes: readonly { readonly id: Int64; readonly type: (typeof KINDS)[number]; readonly name: string }[];
  readonly edges: readonly {
    readonly parent: Int64;
    readonly child: Int64;
    readonly name: string;
    readonly perm: readonly PermissionName[];
    readonly "shared-perm": readonly PermissionName[];
  }[];
}

const permissions = array(enumeration(...PERMISSIONS));
const blockGraphInfo: Type<BlockGraphInfo> = object({
  nodes: array(object({ id: uint64, type: enumeration(...KINDS), name: str })),
  edges: array(object({ parent: uint64, child: uint64, name: str, perm: permissions, "shared-perm": permissions })),
});

export function queryBlockGraphCommands(services: { graph: BlockGraph; jobs: JobList }): Command[] {
  return [
    defineCommand({
      name: "x-debug-query-block-graph",
      arguments: object({}),
      returns: blockGraphInfo,
      run: () => describeGraph(services.graph, services.jobs),
    }),
  ];
}

/**
 * Backends, then jobs, then nodes in the order in which they got their names, each with its edges; told the other way round. A job
 * has edges to what it uses itself: its filter is none of the nodes here, and what the filter asks of a node is the node's affair.
 */
function describeGraph(graph: BlockGraph, jobs: JobList): BlockGraphInfo {
  const nodes: BlockGraphInfo["nodes"][number][] = [];
  const edges: BlockGraphInfo["edges"][number][] = [];
  const ids = new Map<object, number>();
  const idOf = (object: object): number => {
    const id = ids.get(object) ?? ids.size + 1;
    ids.set(object, id);
    return id;
  };
  const addEdge = (parent: object, child: BlockNode, name: string, { needs, shares }: Permissions): void => {
    edges.push({
      parent: idOf(parent),
      child: idOf(child),
      name,
      perm: permissionList(needs),
      "shared-perm": permissionList(shares),
    });
  };
  for (const backend of shownBackends(graph)) {
    nodes.push({ id: idOf(backend), type: "block-backend", name: backendName(backend) });
    const { root } = backend;
    if (root !== undefined) addEdge(backend, root, "root", root.parentEdge(backend.asParent).permissions);
  }
  const all = Array.from(graph.nodes, ({ node }) => node).reverse();
  for (const job of jobs) {
    const uses = all.flatMap((node) => usesOf(node, job.id));
    if (uses.length === 0) continue;
    nodes.push({ id: idOf(job), type: "block-job", name: job.id });
    for (const { node, parent } of uses) addEdge(job, node, "main node", node.parentEdge(parent).permissions);
  }
  for (const node of all) {
    nodes.push({ id: idOf(node), type: "block-driver", name: node.name });
    for (const { role, node: child, asParent } of node.childEdges)
      addEdge(node, child, role, child.parentEdge(asParent).permissions);
  }
  return { nodes: nodes.reverse(), edges: edges.reverse() };
}

function backendName({ name, device }: BlockBackend): string {
  return name !== "" || device === undefined ? name : (device.id ?? device.path);
}

function usesOf(node: BlockNode, jobId: string): { node: BlockNode; parent: NodeParent }[] {
  return [...node.parents].filter((parent) => parent.jobId === jobId).map((parent) => ({ node, parent }));
}

/** The last bit first. */
function permissionList(set: number): PermissionName[] {
  return PERMISSIONS.filter((_name, bit) => (set & (1 << bit)) !== 0).reverse();
}
