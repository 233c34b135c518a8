// The human monitor's commands on block devices: docs/reference/monitor.md §5, §5.1.

import { QmpError } from "../../base/errors.ts";
import { setIoThrottle } from "../commands/block-io-throttle.ts";
import type { HmpCommand } from "./hmp-command.ts";
import type { HumanMonitorServices } from "./human-monitor-services.ts";
import { QemuIo } from "./qemu-io.ts";

/** In the order in which block_set_io_throttle takes them. */
const LIMITS = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] as const;

export function blockCommands(services: HumanMonitorServices): HmpCommand[] {
  const qemuIo = new QemuIo(services);
  const { graph } = services;
  return [
    {
      names: ["qemu-io"],
      synopsis: '[-d] [device] "[command]"',
      description:
        "run a qemu-io command on a block device\n\t\t\t-d: [device] is a device ID rather than a drive ID or node name",
      parameters: [
        { kind: "flag", letter: "d" },
        { kind: "block-device", name: "device" },
        { kind: "string", name: "command" },
      ],
      run: ({ flags, strings }) => {
        const device = strings.get("device")!;
        const command = strings.get("command")!;
        if (!flags.has("d")) {
          const drive = graph.drive(device);
          return drive === undefined
            ? qemuIo.onNode(graph.find(undefined, device).node, command)
            : qemuIo.onBackend(drive, command);
        }
        const backend = services.deviceBackend(device);
        if (backend === undefined) throw new QmpError(`Device '${device}' not found`);
        return qemuIo.onBackend(backend, command);
      },
    },
    {
      names: ["block_resize"],
      synopsis: "device size",
      description: "resize a block image",
      parameters: [
        { kind: "block-device", name: "device" },
        { kind: "size", name: "size" },
      ],
      run: async ({ strings, sizes }) => {
        await graph.resize(strings.get("device")!, undefined, Number(sizes.get("size")!));
        return "";
      },
    },
    {
      names: ["block_set_io_throttle"],
      synopsis: `device ${LIMITS.join(" ")}`,
      description: "change I/O throttle limits for a block drive",
      parameters: [
        { kind: "block-device", name: "device" },
        ...LIMITS.map((name) => ({ kind: "integer", name }) as const),
      ],
      run: ({ strings, integers }) => {
        const name = strings.get("device")!;
        const [bps, bps_rd, bps_wr, iops, iops_rd, iops_wr] = LIMITS.map((limit) => integers.get(limit)!);
        const limits = {
          bps: bps!,
          bps_rd: bps_rd!,
          bps_wr: bps_wr!,
          iops: iops!,
          iops_rd: iops_rd!,
          iops_wr: iops_wr!,
        };
        // A drive of that name goes first, then a device.
        const target = graph.drive(name) === undefined ? { id: name } : { device: name };
        setIoThrottle(services, { ...target, ...limits });
        return "";
      },
    },
  ];
}
