// Commands on the machine as a whole: docs/reference/monitor.md §2, §3.

import { type Command, defineCommand } from "../src/qmp/command.ts";
import type { HumanMonitor } from "../src/qmp/hmp/human-monitor.ts";
import { bool, enumeration, int, object, optional, str } from "../src/qmp/schema/types.ts";
import { qomCommands } from "./qom-commands.ts";
import type { SystemMachine } from "./system-machine.ts";

const statusInfo = object({
  running: bool,
  status: enumeration(
    "running",
    "paused",
    "prelaunch",
    "io-error",
    "inmigrate",
    "finish-migrate",
    "postmigrate",
    "shutdown",
    "colo",
    "debug",
    "guest-panicked",
    "internal-error",
    "restore-vm",
    "save-vm",
    "suspended",
    "watchdog",
  ),
});

export function machineCommands(machine: SystemMachine, humanMonitor: HumanMonitor): Command[] {
  return [
    defineCommand({
      name: "human-monitor-command",
      arguments: object({ "command-line": str, "cpu-index": optional(int) }),
      returns: str,
      run: (args) => humanMonitor.execute(args["command-line"]),
    }),
    defineCommand({ name: "stop", run: () => machine.stop() }),
    defineCommand({ name: "cont", run: () => machine.cont() }),
    defineCommand({ name: "system_reset", run: () => machine.reset() }),
    defineCommand({
      name: "query-status",
      returns: statusInfo,
      run: () => ({ running: machine.runState.running, status: machine.runState.state }),
    }),
    ...qomCommands(machine),
  ];
}
