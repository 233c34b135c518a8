// The human monitor, as it is reached through QMP's human-monitor-command: docs/reference/monitor.md §5.

import { BlockError, QmpError } from "../../base/errors.ts";
import { blockCommands } from "./block-commands.ts";
import { type HmpCommand, helpLine } from "./hmp-command.ts";
import { HmpReader, parseHmpArguments } from "./hmp-parser.ts";
import type { HumanMonitorServices } from "./human-monitor-services.ts";
import { infoCommands } from "./info-commands.ts";
import { infoMigrationCommands } from "./info-migration.ts";
import { migrationCommands } from "./migration-commands.ts";

/**
 * Carries out command lines, one at a time: who calls `execute` waits for the result before he calls it again. Whatever is wrong
 * with a line or happens to a command is text that comes back: only a mistake of the program itself throws.
 */
export class HumanMonitor {
  readonly #services: HumanMonitorServices;
  readonly #commands: readonly HmpCommand[];
  readonly #info: readonly HmpCommand[];

  constructor(services: HumanMonitorServices) {
    this.#services = services;
    const { migration } = services;
    this.#info = [...infoCommands(services), ...(migration === undefined ? [] : infoMigrationCommands(migration))];
    this.#commands = [
      ...blockCommands(services),
      ...(migration === undefined ? [] : migrationCommands(migration)),
      ...this.#machineCommands(),
    ];
  }

  /** What the monitor prints for `line`, with `\r\n` at line ends. */
  async execute(line: string): Promise<string> {
    const printed = await this.#execute(line);
    return printed.replace(/\n/g, "\r\n");
  }

  async #execute(line: string): Promise<string> {
    const reader = new HmpReader(line);
    if (reader.atEnd) return "";
    const command = find(this.#commands, reader.readName());
    if (command === undefined) return unknownCommand(reader);
    if (command.names[0] !== "info") return this.#run(command, reader);
    if (reader.atEnd) return this.#info.map((info) => helpLine("info ", info)).join("");
    const info = find(this.#info, reader.readName());
    return info === undefined ? unknownCommand(reader) : this.#run(info, reader);
  }

  async #run(command: HmpCommand, reader: HmpReader): Promise<string> {
    const typed = reader.consumed;
    const args = parseHmpArguments(reader, command.names.join("|"), command.parameters);
    if ("problem" in args) {
      if (args.printed !== "") this.#services.output(args.printed);
      return `${args.problem}\nTry "help ${typed}" for more information\n`;
    }
    try {
      return await command.run(args);
    } catch (error) {
      if (error instanceof QmpError || error instanceof BlockError)
        return `Error: ${error.message}\n${error.hint === undefined ? "" : `${error.hint}\n`}`;
      throw error;
    }
  }

  #machineCommands(): HmpCommand[] {
    const { stop, cont, quit, systemReset } = this.#services;
    const verb = (names: readonly string[], description: string, callback: () => void | Promise<void>): HmpCommand => ({
      names,
      synopsis: "",
      description,
      parameters: [],
      run: async () => {
        await callback.call(this.#services);
        return "";
      },
    });
    return [
      verb(["stop", "s"], "stop emulation", stop),
      verb(["cont", "c"], "resume emulation", cont),
      verb(["quit", "q"], "quit the emulator", quit),
      verb(["system_reset"], "reset the system", systemReset),
      {
        names: ["info"],
        synopsis: "[subcommand]",
        description: "show various information about the system state",
        parameters: [],
        run: () => "",
      },
      {
        names: ["help", "?"],
        synopsis: "[cmd]",
        description: "show the help",
        parameters: [
          { kind: "string", name: "command", optional: true },
          { kind: "string", name: "subcommand", optional: true },
        ],
        run: ({ strings }) => this.#help(strings.get("command"), strings.get("subcommand")),
      },
    ];
  }

  #help(name: string | undefined, subcommand: string | undefined): string {
    if (name === undefined) return this.#commands.map((command) => helpLine("", command)).join("");
    const command = find(this.#commands, name);
    if (command === undefined) return `unknown command: '${name}'\n`;
    if (command.names[0] !== "info") return helpLine("", command);
    if (subcommand === undefined) return this.#info.map((info) => helpLine("info ", info)).join("");
    const info = find(this.#info, subcommand);
    return info === undefined ? `unknown command: 'info ${subcommand}'\n` : helpLine("info ", info);
  }
}

function find(commands: readonly HmpCommand[], name: string): HmpCommand | undefined {
  return commands.find(({ names }) => names.includes(name));
}

function unknownCommand(reader: HmpReader): string {
  return `unknown command: '${reader.consumed}'\n`;
}
