// query-block and query-named-block-nodes: docs/reference/monitor.md §2.

import type { BlockBackend } from "../../block/backend.ts";
import type { IoStatus } from "../../block/error-policy.ts";
import type { BlockGraph } from "../../block/graph.ts";
import { type Command, defineCommand } from "../command.ts";
import { array, bool, enumeration, object, optional, str, type Type } from "../schema/types.ts";
import { type AllocatedBytes, gatherImageFacts, type ImageFacts } from "./query-block-image.ts";
import { type BlockDeviceInfo, blockDeviceInfo, describeFilter, describeNode } from "./query-block-node.ts";

/** What these commands need of the machine. */
export interface QueryBlockServices {
  readonly graph: BlockGraph;
  /** Without it files have no `actual-size`. */
  readonly allocatedBytes?: AllocatedBytes | undefined;
}

/** QMP's BlockInfo. */
interface BlockInfo {
  /** The drive's id; "" for a device on a node. */
  readonly device: string;
  readonly qdev?: string;
  readonly type: string;
  readonly removable: boolean;
  readonly locked: boolean;
  readonly inserted?: BlockDeviceInfo;
  /** Only of a device that can stop for an error. */
  readonly "io-status"?: IoStatus;
}

const blockInfo: Type<BlockInfo> = object({
  device: str,
  qdev: optional(str),
  type: str,
  removable: bool,
  locked: bool,
  inserted: optional(blockDeviceInfo),
  "io-status": optional(enumeration("ok", "failed", "nospace")),
});

export function queryBlockCommands(services: QueryBlockServices): Command[] {
  const { graph, allocatedBytes } = services;
  return [
    defineCommand({
      name: "query-block",
      returns: array(blockInfo),
      async run() {
        const facts = await gatherImageFacts(graph.nodes, allocatedBytes);
        return shownBackends(graph).map((backend) => describeBackend(facts, backend));
      },
    }),
    defineCommand({
      name: "query-named-block-nodes",
      arguments: object({ flat: optional(bool) }),
      returns: array(blockDeviceInfo),
      run: async ({ flat = false }) => describeNodes(await gatherImageFacts(graph.nodes, allocatedBytes), flat),
    }),
  ];
}

/** Those of drives and of devices; not those that commands use for a while. */
export function shownBackends(graph: BlockGraph): BlockBackend[] {
  return graph.backends.filter(({ name, device }) => name !== "" || device !== undefined);
}

function describeBackend(facts: ImageFacts, backend: BlockBackend): BlockInfo {
  const { name, device, errors } = backend;
  const inserted = describeMedium(facts, backend);
  return {
    ...(device !== undefined && errors.statusEnabled ? { "io-status": errors.status } : {}),
    device: name,
    ...(device === undefined ? {} : { qdev: device.id ?? device.path }),
    type: "unknown",
    removable: device === undefined,
    locked: false,
    ...(inserted === undefined ? {} : { inserted }),
  };
}

/** The name of a job's filter that has come between a backend and its node. */
export function filterOf({ root, asParent }: BlockBackend): string | undefined {
  return root?.parentEdge(asParent).coveredBy?.parent.filterName;
}

/** What a backend stands on: the filter of a job that has come between, if there is one. */
function describeMedium(facts: ImageFacts, backend: BlockBackend): BlockDeviceInfo | undefined {
  const node = backend.root;
  if (node === undefined) return undefined;
  const filterName = filterOf(backend);
  if (filterName === undefined) return describeNode(facts, node, { backend });
  return describeFilter(facts, filterName, node, { backend });
}

/** Newest first. The filters of jobs, which have come to nodes that were there already, go before them. */
function describeNodes(facts: ImageFacts, flat: boolean): BlockDeviceInfo[] {
  const nodes = Array.from(facts.nodes, ({ node }) => node);
  const filters = nodes.flatMap((node) =>
    Array.from(node.parents).flatMap(({ filterName }) => (filterName === undefined ? [] : [{ filterName, node }])),
  );
  return [
    ...filters.map(({ filterName, node }) => describeFilter(facts, filterName, node, { flat })),
    ...nodes.map((node) => describeNode(facts, node, { flat })),
  ];
}
