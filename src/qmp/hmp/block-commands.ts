// The human monitor's commands on block devices: docs/reference/monitor.md §5, §5.1.

import { QmpError } from "../../base/errors.ts";
import type { HmpCommand } from "./hmp-command.ts";
import type { HumanMonitorServices } from "./human-monitor-services.ts";
import { QemuIo } from "./qemu-io.ts";

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
  ];
}
