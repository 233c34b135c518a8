// The same images and the same monitor commands, once with this program and once with a real QEMU, each in a folder of its own.
import { expect } from "vitest";
import { ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import type { Message } from "../support/qmp-socket.ts";
import { type SystemClient, SystemProcess } from "../support/system-process.ts";
import { eventsOfJob } from "./job-events.ts";
import { NO_BOARD, QEMU } from "./programs.ts";

const ASK_EVERY_MS = 5;

/** One of the two: its images, its monitor. */
export interface Twin {
  readonly folder: ImageFolder;
  readonly client: SystemClient;
}

export class TwinMachines {
  readonly ours: Twin;
  readonly theirs: Twin;

  private constructor(ours: Twin, theirs: Twin) {
    this.ours = ours;
    this.theirs = theirs;
  }

  /** `prepare` fills the folder of either before the program is started in it, with `args`. */
  static async start(
    args: readonly string[] = [],
    prepare: (folder: ImageFolder) => void = () => {},
  ): Promise<TwinMachines> {
    const [ours, theirs] = await Promise.all([startTwin(args, prepare), startTwin(args, prepare, [QEMU])]);
    return new TwinMachines(ours, theirs);
  }

  get both(): readonly [Twin, Twin] {
    return [this.ours, this.theirs];
  }

  /** Runs a tool on the images of both. */
  run(tool: string, ...args: readonly string[]): void {
    for (const { folder } of this.both) folder.run(tool, ...args);
  }

  /** What both reply, which has to be the same. */
  async execute(name: string, args: object = {}): Promise<Message> {
    const [ours, theirs] = await Promise.all(this.both.map(({ client }) => client.execute(name, args)));
    expect(ours, `${name} ${JSON.stringify(args)}`).toEqual(theirs);
    return ours!;
  }

  /** As `execute`, of a command that succeeds. */
  async succeed(name: string, args: object = {}): Promise<unknown> {
    const reply = await this.execute(name, args);
    expect(reply).toHaveProperty("return");
    return reply["return"];
  }

  /** Asks each as often as it takes until what it answers is what is waited for. */
  async until(name: string, isReached: (answer: unknown) => boolean): Promise<void> {
    for (const { client } of this.both) {
      while (!isReached((await client.execute(name))["return"]))
        await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** Lets the human monitor's qemu-io change an image in both. */
  async change(node: string, command: string): Promise<void> {
    for (const { client } of this.both) expect(await client.human(`qemu-io ${node} "${command}"`)).toBe("");
  }

  /**
   * Runs a job in both, and waits for its end. What it tells of itself on the way has to be the same: resolves with that. `meanwhile`
   * happens when it has been started.
   */
  async job(
    name: string,
    args: { readonly "job-id": string; readonly [name: string]: unknown },
    meanwhile: () => Promise<void> = () => Promise.resolve(),
  ): Promise<readonly Message[]> {
    const from = this.both.map(({ client }) => client.qmp.messages.length);
    await this.succeed(name, args);
    await meanwhile();
    const [ours, theirs] = await Promise.all(
      this.both.map(({ client }, i) => eventsOfJob(client, args["job-id"], from[i]!)),
    );
    expect(ours, `${name} ${JSON.stringify(args)}`).toEqual(theirs);
    return ours!;
  }

  /** Ends both in order, and leaves nothing behind. */
  async close(): Promise<void> {
    try {
      for (const { client } of this.both) {
        expect(await client.quit()).toBe(0);
        expect(client.process.errorOutput).toBe("");
      }
    } finally {
      for (const { client, folder } of this.both) {
        client.kill();
        await folder.dispose();
      }
    }
  }
}

async function startTwin(
  args: readonly string[],
  prepare: (folder: ImageFolder) => void,
  program?: readonly string[],
): Promise<Twin> {
  const folder = new ImageFolder();
  try {
    prepare(folder);
    return { folder, client: await new SystemProcess(folder.path, [...NO_BOARD, ...args], program).connect() };
  } catch (error) {
    await folder.dispose();
    throw error;
  }
}
