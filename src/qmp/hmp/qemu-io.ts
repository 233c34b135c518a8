// qemu-io within the monitor: one command on one disk. docs/reference/monitor.md §5.1.

import { QmpError } from "../../base/errors.ts";
import type { BlockBackend } from "../../block/backend.ts";
import type { BlockNode } from "../../block/node.ts";
import { PERM_ALL } from "../../block/permissions.ts";
import type { QemuIoServices } from "./human-monitor-services.ts";
import { AioRequests } from "./qemu-io-aio-requests.ts";
import { breakCommand, removeBreakCommand, resumeCommand, sleepCommand, waitBreakCommand } from "./qemu-io-break.ts";
import { type IoCommand, IoRefusal, IoUsage, usageLine } from "./qemu-io-command.ts";
import { aioFlushCommand, discardCommand, flushCommand } from "./qemu-io-discard.ts";
import { allocCommand, infoCommand, lengthCommand, mapCommand, truncateCommand } from "./qemu-io-image.ts";
import { RequestMemory } from "./qemu-io-memory.ts";
import { aioReadCommand, readCommand, readvCommand } from "./qemu-io-read.ts";
import { reopenCommand } from "./qemu-io-reopen.ts";
import { aioWriteCommand, writeCommand, writevCommand } from "./qemu-io-write.ts";

/**
 * Carries out commands. What they find, and most of what is wrong with them, is printed to the program's standard output or error;
 * what is returned is the little that QEMU prints to the monitor, with `\n` at line ends.
 */
export class QemuIo {
  readonly #services: QemuIoServices;
  readonly #memory = new RequestMemory();
  readonly #aio = new AioRequests();
  readonly #commands: readonly IoCommand[];

  constructor(services: QemuIoServices) {
    this.#services = services;
    this.#commands = [
      aioFlushCommand,
      aioReadCommand,
      aioWriteCommand,
      allocCommand,
      breakCommand,
      discardCommand,
      flushCommand,
      this.#helpCommand(),
      infoCommand,
      lengthCommand,
      mapCommand,
      readCommand,
      readvCommand,
      removeBreakCommand,
      reopenCommand,
      resumeCommand,
      sleepCommand,
      truncateCommand,
      waitBreakCommand,
      writeCommand,
      writevCommand,
    ];
  }

  /**
   * On a drive, or a guest's device: by its own backend, so that requests go the guest's way. What the command needs of the node
   * the backend keeps.
   */
  async onBackend(backend: BlockBackend, line: string): Promise<string> {
    const words = wordsOf(line);
    const command = this.#find(words);
    return command === undefined ? "" : this.#run(command, backend, words);
  }

  /**
   * On a node: by a backend made for the command. What the command has begun ends before this does, with the node drained twice,
   * which is what its jobs show when QEMU lets such a backend go.
   */
  async onNode(node: BlockNode, line: string): Promise<string> {
    const { graph } = this.#services;
    const backend = graph.addBackend({ name: "", node, permissions: { needs: 0, shares: PERM_ALL } });
    try {
      return await this.onBackend(backend, line);
    } finally {
      for (let i = 0; i < 2; i++) {
        const drained = await node.drain();
        drained[Symbol.dispose]();
      }
      await this.#aio.untilDone(backend);
      await graph.removeBackend(backend);
    }
  }

  /** Undefined, and it has been said so, where there is nothing to do. */
  #find(words: readonly string[]): IoCommand | undefined {
    const [name] = words;
    if (name === undefined) return undefined;
    const command = this.#commands.find((one) => one.name === name || one.alias === name);
    if (command === undefined) {
      this.#services.errorOutput(`command "${name}" not found\n`);
      return undefined;
    }
    const count = words.length - 1;
    if (count >= command.minArguments && count <= command.maxArguments) return command;
    this.#services.errorOutput(`bad argument count ${count} to ${name}, expected ${expectedArguments(command)}\n`);
    return undefined;
  }

  async #run(command: IoCommand, backend: BlockBackend, words: readonly string[]): Promise<string> {
    try {
      extendPermissions(backend, command.needs);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      return error.hint === undefined ? `${error.message}\n` : `${error.message}\n${error.hint}\n`;
    }
    const services = this.#services;
    try {
      await command.run({ backend, services, memory: this.#memory, aio: this.#aio }, words);
    } catch (error) {
      if (error instanceof IoUsage) services.output(`${usageLine(command)}\n`);
      else if (!(error instanceof IoRefusal)) throw error;
      else if (error.to === "monitor") return `${error.message}\n`;
      else if (error.to === "errorOutput") services.errorOutput(`${error.message}\n`);
      else services.output(`${error.message}\n`);
    }
    return "";
  }

  #helpCommand(): IoCommand {
    return {
      name: "help",
      minArguments: 0,
      maxArguments: 1,
      needs: 0,
      synopsis: "[command]",
      description: "help for one or all commands",
      run: ({ services }, [, name]) => {
        if (name === undefined) {
          const lines = this.#commands.map((command) => `${usageLine(command)}\n`);
          services.output(`${lines.join("")}\nUse 'help commandname' for extended help.\n`);
          return;
        }
        const command = this.#commands.find((one) => one.name === name || one.alias === name);
        services.output(command === undefined ? `command ${name} not found\n` : `${usageLine(command, name)}\n`);
      },
    };
  }
}

/** Only blanks part words, and nothing quotes them. */
function wordsOf(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

/** Throws a `QmpError` where the node's other users, or the node, are against it. */
function extendPermissions(backend: BlockBackend, needs: number): void {
  const node = backend.root;
  if (node === undefined) return;
  const now = node.parentEdge(backend.asParent).permissions;
  if ((needs & ~now.needs) !== 0) backend.setPermissions({ needs: now.needs | needs, shares: now.shares });
}

function expectedArguments({ minArguments, maxArguments }: IoCommand): string {
  if (maxArguments === Number.POSITIVE_INFINITY) return `at least ${minArguments} arguments`;
  if (minArguments === maxArguments) return `${minArguments} arguments`;
  return `between ${minArguments} and ${maxArguments} arguments`;
}
