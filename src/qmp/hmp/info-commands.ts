// What `info` shows of the machine: docs/reference/monitor.md §5.

import { backendsStats } from "../commands/query-blockstats.ts";
import type { HmpCommand } from "./hmp-command.ts";
import type { HumanMonitorServices } from "./human-monitor-services.ts";
import { infoBlock } from "./info-block.ts";

/** What `info blockstats` shows, in its order. */
const BLOCK_STATISTICS = [
  ...(["rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations"] as const),
  ...(["wr_total_time_ns", "rd_total_time_ns", "flush_total_time_ns"] as const),
  ...(["rd_merged", "wr_merged", "idle_time_ns"] as const),
] as const;

const NO_UUID = "00000000-0000-0000-0000-000000000000";

export function infoCommands(services: HumanMonitorServices): HmpCommand[] {
  const plain = (name: string, description: string, run: () => string): HmpCommand => ({
    names: [name],
    synopsis: "",
    description,
    parameters: [],
    run,
  });
  return [
    {
      names: ["block"],
      synopsis: "[-n] [-v] [device]",
      description: "show info of one block device or all block devices (-n: show named nodes; -v: show details)",
      parameters: [
        { kind: "flag", letter: "n" },
        { kind: "flag", letter: "v" },
        { kind: "block-device", name: "device", optional: true },
      ],
      run: ({ flags, strings }) =>
        infoBlock(services, { nodes: flags.has("n"), verbose: flags.has("v"), device: strings.get("device") }),
    },
    plain("block-jobs", "show progress of ongoing block device operations", () => infoBlockJobs(services)),
    plain("blockstats", "show block device statistics", () => infoBlockstats(services)),
    plain("name", "show the current VM name", () => (services.name === undefined ? "" : `${services.name}\n`)),
    plain("status", "show the current VM status (running|paused)", () => infoStatus(services)),
    plain("uuid", "show the current VM UUID", () => `${services.uuid ?? NO_UUID}\n`),
    plain("version", "show the version of QEMU", () => infoVersion(services)),
  ];
}

function infoBlockJobs({ jobs }: HumanMonitorServices): string {
  const lines = [...jobs].map((job) => {
    const { id, type, progress, speed } = job.query();
    return (
      `Type ${type}, device ${id}: Completed ${progress.current} of ${progress.total} bytes, ` +
      `speed limit ${speed} bytes/s\n`
    );
  });
  return lines.length === 0 ? "No active jobs\n" : lines.join("");
}

function infoBlockstats({ graph }: HumanMonitorServices): string {
  const lines = backendsStats(graph).map(({ device, stats }) => {
    const counters = BLOCK_STATISTICS.map((name) => `${name}=${stats[name] ?? 0}`);
    return `${device ?? ""}: ${counters.join(" ")}\n`;
  });
  return lines.join("");
}

function infoStatus(services: HumanMonitorServices): string {
  const state = services.runState();
  if (state === "running") return "VM status: running\n";
  return state === "paused" ? "VM status: paused\n" : `VM status: paused (${state})\n`;
}

function infoVersion({ version }: HumanMonitorServices): string {
  const { qemu } = version;
  return `${qemu.major}.${qemu.minor}.${qemu.micro}${version.package}\n`;
}
