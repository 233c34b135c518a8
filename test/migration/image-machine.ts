// A machine with qcow2 images and a monitor, that migrates over pipes.
import { bareBoard, virtBoards } from "../../machine/boards.ts";
import { SystemMonitor } from "../../machine/system-monitor.ts";
import { BlockError, QmpError } from "../../src/base/errors.ts";
import type { BlockNode } from "../../src/block/node.ts";
import { PipeChannels } from "./pipe-channels.ts";
import { HastyClock } from "./test-machine.ts";

/** What is to be seen of a bitmap, by its node and name. */
export interface ImageBitmap {
  readonly sha256: string;
  readonly count: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly persistent: boolean;
  readonly inconsistent: boolean;
}

export interface ImageMachineOptions {
  readonly incoming?: boolean;
  /** `dirty-bitmaps` by default. */
  readonly capabilities?: readonly string[];
}

export class ImageMachine {
  readonly monitor: SystemMonitor;
  readonly channels: PipeChannels = new PipeChannels();
  /** Statuses of migrations, STOP and RESUME. */
  readonly events: string[] = [];
  readonly lines: string[] = [];
  #wake: (() => void)[] = [];
  #output = "";

  private constructor(incoming: boolean) {
    this.monitor = new SystemMonitor({
      ramBytes: 4096,
      stopped: false,
      version: "1.0.0",
      output: (text) => {
        this.#output += text;
      },
      board: bareBoard(virtBoards.aarch64),
      clock: new HastyClock(),
      channels: this.channels,
      incoming,
      report: (line) => void this.lines.push(line),
    });
    this.monitor.server.events.listen(({ event, data }) => {
      if (event === "MIGRATION") this.events.push((data as { status: string }).status);
      else if (event === "STOP" || event === "RESUME") this.events.push(event);
      for (const resolve of this.#wake.splice(0)) resolve();
    });
  }

  /** With nodes of these names and options. Waits for a migration if it is `incoming`. Throws where a node cannot be opened. */
  static async create(
    nodes: Readonly<Record<string, object>>,
    options: ImageMachineOptions = {},
  ): Promise<ImageMachine> {
    const { incoming = false, capabilities = ["dirty-bitmaps"] } = options;
    const machine = new ImageMachine(incoming);
    await machine.capabilities("events", ...capabilities);
    for (const [name, node] of Object.entries(nodes))
      await machine.monitor.server.execute("blockdev-add", { ...node, "node-name": name });
    if (incoming) await machine.monitor.machine.migration.awaitIncoming("unix:in");
    return machine;
  }

  /** What a command returns, or the text of its error. */
  run(name: string, args?: object): Promise<unknown> {
    return this.monitor.server.execute(name, args).catch((error: unknown) => {
      if (error instanceof QmpError || error instanceof BlockError) return error.message;
      throw error;
    });
  }

  human(line: string): Promise<unknown> {
    return this.run("human-monitor-command", { "command-line": line });
  }

  /** The first line that a command of qemu-io prints. */
  async io(node: string, command: string): Promise<string> {
    this.#output = "";
    await this.human(`qemu-io ${node} "${command}"`);
    return this.#output.split("\n")[0]!;
  }

  async capabilities(...names: readonly string[]): Promise<void> {
    const states = names.map((capability) => ({ capability, state: true }));
    await this.run("migrate-set-capabilities", { capabilities: states });
  }

  node(name: string): BlockNode {
    return this.monitor.machine.graph.getNode(name);
  }

  get state(): string {
    return this.monitor.machine.runState.state;
  }

  /** Sets off, and resolves when it has ended here. */
  async migrate(): Promise<string> {
    this.events.length = 0;
    await this.run("migrate", { uri: "unix:in" });
    await this.until("completed", "failed", "cancelled", "postcopy-paused");
    return this.monitor.machine.migration.info.status!;
  }

  /** Resolves when one of these events has been, and all that follows from it at once. */
  async until(...events: readonly string[]): Promise<void> {
    while (!events.some((event) => this.events.includes(event))) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    // What goes on between two commands has ended when a command is through.
    await this.run("query-status");
  }

  /** All bitmaps but anonymous ones, by `node/name`, in the order in which they are listed. */
  async bitmaps(): Promise<Record<string, ImageBitmap>> {
    const seen: Record<string, ImageBitmap> = {};
    for (const { node } of this.monitor.machine.graph.nodes) {
      for (const bitmap of node.bitmaps) {
        const { countBytes, recording, busy, persistent, inconsistent } = bitmap;
        const sha256 = await bitmap.bits.sha256();
        const key = `${node.name}/${bitmap.name ?? "(anonymous)"}`;
        seen[key] = { sha256, count: countBytes, recording, busy, persistent, inconsistent };
      }
    }
    return seen;
  }

  /** `quit`, as far as the images are concerned. */
  async quit(): Promise<void> {
    await this.monitor.close("host-signal");
  }
}
