// A golden scenario's nodes and devices in a process of their own: images are files, guest I/O goes by the human monitor's qemu-io.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import type { GoldenBitmaps, GoldenEvent, GoldenIo, GoldenNode, GoldenResult } from "./golden-files.ts";
import type { JobState, MachineUnderTest } from "./machine-under-test.ts";
import { imageOf, readQcow2 } from "./golden-nodes.ts";
import { type SystemClient, SystemProcess } from "../support/system-process.ts";

const REST_MS = 3;

interface NamedNode {
  readonly "node-name": string;
  readonly "dirty-bitmaps"?: readonly JsonObject[];
}

export class ProcessMachine implements MachineUnderTest {
  readonly #client: SystemClient;
  readonly #folder: string;
  readonly #device: string | undefined;
  /** Messages that `takeEvents` has been through. */
  #taken = 0;
  /** Of the images, by their nodes, when the process has ended. */
  #remaining: ReadonlyMap<string, Uint8Array> | undefined;
  readonly #nodes: readonly string[];
  /** Whose files are qcow2. */
  readonly #formatted: ReadonlySet<string>;

  private constructor(client: SystemClient, folder: string, nodes: readonly GoldenNode[]) {
    this.#client = client;
    this.#folder = folder;
    this.#nodes = nodes.map(({ name }) => name);
    this.#formatted = new Set(nodes.filter(({ format }) => format === "qcow2").map(({ name }) => name));
    this.#device = nodes.find(({ device }) => device !== undefined)?.device;
  }

  static async create(nodes: readonly GoldenNode[]): Promise<ProcessMachine> {
    const folder = mkdtempSync(join(tmpdir(), "vblk-golden-"));
    try {
      for (const node of nodes) writeFileSync(join(folder, `${node.name}.img`), await imageOf(node));
      const args = ["-M", "virt", "-accel", "tcg", "-S", "-m", "16", "-nodefaults", "-display", "none"];
      const process = new SystemProcess(folder, [...args, ...nodes.flatMap(nodeArguments)]);
      return new ProcessMachine(await process.connect(), folder, nodes);
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  async execute(name: string, args: JsonObject): Promise<GoldenResult> {
    return (await this.#client.execute(name, args)) as GoldenResult;
  }

  async io(io: GoldenIo): Promise<GoldenResult> {
    const to = io.node ?? `-d ${this.#device!}`;
    const returned = await this.#client.human(`qemu-io ${to} "${ioCommand(io)}"`);
    if (returned !== "") return { ok: false, msg: JSON.stringify(returned) };
    const output = await this.#client.process.takeOutput();
    const failure = /failed: .*/.exec(output);
    if (failure !== null) return { ok: false, msg: failure[0] };
    const done = new RegExp(`^(wrote|read|discard) ${io.len}/${io.len} bytes at offset ${io.off}$`, "m");
    return io.op === "flush" ? { ok: output === "" } : done.test(output) ? { ok: true } : { ok: false, msg: output };
  }

  async jobs(): Promise<JobState[]> {
    const jobs = await this.#list<JsonObject>("query-jobs");
    if (jobs.length === 0) return [];
    const blockJobs = await this.#list<{ device: string; busy: boolean }>("query-block-jobs");
    return jobs.map((job) => {
      const { id, type, status, "current-progress": current, "total-progress": total, error } = job;
      const busy = blockJobs.find(({ device }) => device === id)?.busy === true;
      return { id, type, status, busy, current, total, ...(error === undefined ? {} : { error }) } as JobState;
    });
  }

  async bitmaps(): Promise<GoldenBitmaps> {
    const all: Record<string, JsonObject[]> = {};
    for (const node of await this.#list<NamedNode>("query-named-block-nodes", { flat: true })) {
      const name = node["node-name"];
      for (const bitmap of node["dirty-bitmaps"] ?? []) {
        if (bitmap["name"] === undefined) continue;
        const of = { node: name, name: bitmap["name"] };
        const hash = (await this.#client.execute("x-debug-block-dirty-bitmap-sha256", of))["return"] as JsonObject;
        all[name] ??= [];
        all[name].push({ ...bitmap, sha256: hash["sha256"]! });
      }
    }
    return all;
  }

  async image(node: string): Promise<Uint8Array> {
    const remaining = this.#remaining?.get(node);
    if (remaining !== undefined) return remaining;
    if (this.#formatted.has(node)) await this.#flush(node);
    return this.#read(node);
  }

  rest(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, REST_MS));
  }

  takeEvents(): GoldenEvent[] {
    const messages = this.#client.qmp.messages.slice(this.#taken);
    this.#taken += messages.length;
    return messages
      .filter((message) => "event" in message)
      .map(({ event, data = {} }) => ({ event, data }) as unknown as GoldenEvent);
  }

  async close(): Promise<void> {
    try {
      const status = await this.#client.quit();
      if (status !== 0) throw new Error(`ended with status ${status}: ${this.#client.process.errorOutput}`);
      const remaining = new Map<string, Uint8Array>();
      for (const node of this.#nodes) remaining.set(node, await this.#read(node));
      this.#remaining = remaining;
    } finally {
      this.kill();
    }
  }

  /** Ends it at once, if it has not ended yet, and leaves nothing behind. */
  kill(): void {
    this.#client.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The disk, as it is in the node's file now. */
  async #read(node: string): Promise<Uint8Array> {
    const file = readFileSync(join(this.#folder, `${node}.img`));
    return this.#formatted.has(node) ? readQcow2(file) : file;
  }

  /** What an image in a format holds is in its file then. */
  async #flush(node: string): Promise<void> {
    const returned = await this.#client.human(`qemu-io ${node} flush`);
    const output = returned + (await this.#client.process.takeOutput());
    if (output !== "") throw new Error(`flush of ${node}: ${output}`);
  }

  async #list<Item>(command: string, args: object = {}): Promise<readonly Item[]> {
    return (await this.#client.execute(command, args))["return"] as readonly Item[];
  }
}

function nodeArguments({ name, device, format = "raw", discard = "unmap", blkdebug }: GoldenNode): string[] {
  const file = `${name}-file`;
  const below = blkdebug === undefined ? file : `${name}-dbg`;
  const nodes: object[] = [
    { driver: "file", "node-name": file, filename: `${name}.img`, discard },
    ...(blkdebug === undefined
      ? []
      : [{ driver: "blkdebug", "node-name": below, image: file, "inject-error": blkdebug, discard }]),
    { driver: format, "node-name": name, file: below, discard },
  ];
  return [
    ...nodes.flatMap((node) => ["-blockdev", JSON.stringify(node)]),
    ...(device === undefined ? [] : ["-device", `virtio-blk-device,id=${device},drive=${name}`]),
  ];
}

function ioCommand({ op, off, len, pattern = 0 }: GoldenIo): string {
  switch (op) {
    case "write":
      return `write -P ${pattern} ${off} ${len}`;
    case "zero":
      return `write -z ${off} ${len}`;
    case "zero-unmap":
      return `write -zu ${off} ${len}`;
    case "discard":
      return `discard ${off} ${len}`;
    case "read":
      return `read ${off} ${len}`;
    case "flush":
      return "flush";
  }
}
