// `info block`: drives, devices' backends and nodes, as text. docs/reference/monitor.md §5.

import type { BlockBackend } from "../../block/backend.ts";
import { backingOf } from "../../block/block-status.ts";
import type { ThrottleGroup } from "../../block/filters/throttle-group.ts";
import type { BlockNode } from "../../block/node.ts";
import { describeLimits } from "../commands/query-block-limits.ts";
import type { HumanMonitorServices } from "./human-monitor-services.ts";

const THROTTLING: readonly string[] = [
  ...["bps", "bps_rd", "bps_wr", "bps_max", "bps_rd_max", "bps_wr_max"],
  ...["iops", "iops_rd", "iops_wr", "iops_max", "iops_rd_max", "iops_wr_max"],
  ...["iops_size", "group"],
];

export interface InfoBlockOptions {
  /** All named nodes rather than drives. */
  readonly nodes: boolean;
  readonly verbose: boolean;
  /** Only that drive or node. */
  readonly device: string | undefined;
}

/** The text, with `\n` at line ends. An empty line stands before every entry but the first of all there are, shown or not. */
export async function infoBlock(services: HumanMonitorServices, options: InfoBlockOptions): Promise<string> {
  const { nodes, verbose, device } = options;
  let text = "";
  if (!nodes) {
    const backends = services.graph.backends.filter(({ name, device: user }) => name !== "" || user !== undefined);
    for (const [i, backend] of backends.entries()) {
      if (device !== undefined && backend.name !== device) continue;
      text += (i === 0 ? "" : "\n") + (await describeBackend(services, backend, verbose));
    }
    if (device === undefined) return text;
  }
  for (const [i, { node }] of [...services.graph.nodes].entries()) {
    if (device !== undefined && node.name !== device) continue;
    text += (i === 0 ? "" : "\n") + describeFile(services, node.name, node);
    text += await describeNode(services, node, { writeCache: true, verbose });
  }
  return text;
}

async function describeBackend(
  services: HumanMonitorServices,
  backend: BlockBackend,
  verbose: boolean,
): Promise<string> {
  const { name, root, device, writeCache } = backend;
  let text: string;
  if (root === undefined) text = `${name !== "" ? name : (device?.id ?? device?.path ?? "")}: [not inserted]\n`;
  else text = describeFile(services, name === "" ? root.name : `${name} (${root.name})`, root);
  if (device !== undefined) text += line("Attached to:", device.id ?? device.path);
  else text += line("Removable device:", "not locked, tray closed"); // a drive waits for any kind of device
  if (root === undefined) return text;
  return text + (await describeNode(services, root, { writeCache, verbose, group: backend.throttleGroup }));
}

function describeFile(services: HumanMonitorServices, name: string, node: BlockNode): string {
  const readOnly = node.readOnly ? ", read-only" : "";
  return `${name}: ${services.imageName(node)} (${node.driver.driverName}${readOnly})\n`;
}

async function describeNode(
  services: HumanMonitorServices,
  node: BlockNode,
  options: { writeCache: boolean; verbose: boolean; group?: ThrottleGroup | undefined },
): Promise<string> {
  const { cacheDirect, cacheNoFlush, detectZeroes } = node.settings;
  const mode = options.writeCache ? "writeback" : "writethrough";
  let text = line("Cache mode:", mode + (cacheDirect ? ", direct" : "") + (cacheNoFlush ? ", ignore flushes" : ""));
  const chain = chainOf(node);
  const backing = chain[1];
  if (backing !== undefined)
    text += line("Backing file:", `${services.imageName(backing)} (chain depth: ${chain.length - 1})`);
  if (detectZeroes !== "off") text += line("Detect zeroes:", detectZeroes);
  if (options.group !== undefined) text += line("I/O throttling:", describeThrottling(options.group));
  if (!options.verbose) return text;
  const images: string[] = [];
  for (const layer of chain) images.push(await describeImage(services, layer));
  return `${text}\nImages:\n${images.join("\n")}`;
}

async function describeImage(services: HumanMonitorServices, node: BlockNode): Promise<string> {
  const allocated = await services.allocatedBytes?.(node);
  const backing = backingOf(node);
  const { clusterSizeBytes } = node.driver;
  return [
    `image: ${services.imageName(node)}\n`,
    `file format: ${node.driver.driverName}\n`,
    `virtual size: ${threeDigits(node.lengthBytes)} (${node.lengthBytes} bytes)\n`,
    `disk size: ${allocated === undefined ? "unavailable" : threeDigits(allocated)}\n`,
    clusterSizeBytes === undefined ? "" : `cluster_size: ${clusterSizeBytes}\n`,
    backing === undefined ? "" : `backing file: ${services.imageName(backing)}\n`,
  ].join("");
}

/** `bps=1000 bps_rd=0 … group=d0` */
function describeThrottling(group: ThrottleGroup): string {
  const limits: Readonly<Record<string, unknown>> = { ...describeLimits(group) };
  return THROTTLING.map((name) => `${name}=${limits[name] ?? 0}`).join(" ");
}

/** A node and the backing nodes below it. */
function chainOf(node: BlockNode): BlockNode[] {
  const chain: BlockNode[] = [];
  for (let at: BlockNode | undefined = node; at !== undefined; at = backingOf(at)) chain.push(at);
  return chain;
}

function line(label: string, value: string): string {
  return `    ${label.padEnd(17)} ${value}\n`;
}

/** `1.06 MiB` */
function threeDigits(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const value = bytes / 1024 ** power;
  return `${value >= 1000 ? value.toFixed(0) : Number(value.toPrecision(3))} ${units[power]}`;
}
