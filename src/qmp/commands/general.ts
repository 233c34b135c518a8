// The commands that every monitor has, whatever the machine: docs/reference/monitor.md §1.1, §2, §3.

import { QmpError } from "../../base/errors.ts";
import { type Command, defineCommand } from "../command.ts";
import type { QmpServer } from "../qmp-server.ts";
import { describeSchema } from "../schema/introspection.ts";
import { schemaInfo } from "../schema/schema-info.ts";
import { array, enumeration, int, object, optional, str } from "../schema/types.ts";

const versionInfo = object({ qemu: object({ major: int, minor: int, micro: int }), package: str });

const NO_UUID = "00000000-0000-0000-0000-000000000000";

/** What the general commands need of the program. */
export interface MonitorHost {
  /** `-name`; `undefined` without. */
  readonly name: string | undefined;
  /** `-uuid`; zeroes without. */
  readonly uuid?: string | undefined;
  /**
   * Begins the end: emits SHUTDOWN, cancels jobs, and calls the monitor's `shutdown` without waiting for it. The reply to `quit` follows,
   * and no other command.
   */
  quit(): void | Promise<void>;
}

/** The general commands of `monitor`. Its schema covers whatever is registered by the time it is asked for. */
export function generalCommands(monitor: QmpServer, host: MonitorHost): readonly Command[] {
  return [
    defineCommand({
      name: "qmp_capabilities",
      arguments: object({ enable: optional(array(enumeration("oob"))) }),
      allowPreconfig: true,
      run({ enable = [] }, { session }) {
        if (session === undefined)
          throw new QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound");
        session.negotiate(enable);
      },
    }),
    defineCommand({
      name: "query-version",
      returns: versionInfo,
      allowPreconfig: true,
      run: () => monitor.version,
    }),
    defineCommand({
      name: "query-commands",
      returns: array(object({ name: str })),
      allowPreconfig: true,
      run: () => Array.from(monitor.commands, ({ name }) => ({ name })),
    }),
    defineCommand({
      name: "query-qmp-schema",
      returns: array(schemaInfo),
      allowPreconfig: true,
      run: () => describeSchema(monitor.commands, monitor.events),
    }),
    defineCommand({
      name: "query-name",
      returns: object({ name: optional(str) }),
      allowPreconfig: true,
      run: () => (host.name === undefined ? {} : { name: host.name }),
    }),
    defineCommand({
      name: "query-uuid",
      returns: object({ UUID: str }),
      allowPreconfig: true,
      run: () => ({ UUID: host.uuid ?? NO_UUID }),
    }),
    defineCommand({
      name: "quit",
      allowPreconfig: true,
      run: () => host.quit(),
    }),
  ];
}
