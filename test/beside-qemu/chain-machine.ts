// A process that has the disk of a chain, this program's or a real QEMU: changes through its monitor or its device, and backups.
import { join } from "node:path";
import type { Disk } from "../../guest/disk.ts";
import { Guest } from "../../guest/guest.ts";
import type { QtestChannel } from "../../guest/targets/qtest-channel.ts";
import { QtestTarget } from "../../guest/targets/qtest-target.ts";
import { boardOf } from "../../machine/conformance/qtest-board.ts";
import type { Message } from "../support/qmp-socket.ts";
import { type SystemClient, SystemProcess } from "../support/system-process.ts";
import type { Range } from "./chain-model.ts";
import type { Change } from "./chain-program.ts";
import { endOfJob } from "./job-events.ts";
import { NO_BOARD, QEMU } from "./programs.ts";

const RAM_MIB = 16;
const TARGET = "target";
const TARGET_FILE = "target-file";
const DRIVE = "if=none,id=drv,node-name=disk,driver=qcow2,file.driver=file,file.filename=disk.qcow2,discard=unmap";

/** Carries a change out, or fails. */
export type Changer = (op: Change["op"], range: Range, byte: number) => Promise<void>;

export class ChainMachine {
  readonly client: SystemClient;
  readonly #guest: Guest | undefined;
  readonly #disk: Disk | undefined;

  private constructor(client: SystemClient, guest?: Guest, disk?: Disk) {
    this.client = client;
    this.#guest = guest;
    this.#disk = disk;
  }

  static async startQemu(folder: string): Promise<ChainMachine> {
    return new ChainMachine(await new SystemProcess(folder, [...NO_BOARD, "-drive", DRIVE], [QEMU]).connect());
  }

  /** This program, with a guest at its one device. `channel` is free until the machine is closed. */
  static async startOurs(folder: string, channel: QtestChannel): Promise<ChainMachine> {
    const qtest = join(folder, "qtest.sock");
    const process = new SystemProcess(folder, [
      ...["-M", "virt", "-m", String(RAM_MIB), "-accel", "qtest", "-nodefaults", "-display", "none"],
      ...[
        "-qtest",
        `unix:${qtest},server=on,wait=off`,
        "-qtest-log",
        "none",
        "-global",
        "virtio-mmio.force-legacy=false",
      ],
      ...["-drive", DRIVE, "-device", "virtio-blk-device,drive=drv"],
    ]);
    const client = await process.connect();
    try {
      const board = boardOf("arm");
      channel.connect(qtest);
      channel.ask(`irq_intercept_in ${board.interruptController}`);
      const guest = new Guest(new QtestTarget({ channel, ramSizeBytes: RAM_MIB << 20, ...board }));
      return new ChainMachine(client, guest, await guest.probe());
    } catch (error) {
      client.kill();
      throw error;
    }
  }

  /** Throws where the reply is an error. */
  async execute(name: string, args: object = {}): Promise<unknown> {
    const reply = await this.client.execute(name, args);
    if (!("return" in reply)) throw new Error(`${name} ${JSON.stringify(args)}: ${JSON.stringify(reply)}`);
    return reply["return"];
  }

  /** Through the device; through the monitor where there is none. */
  get guest(): Changer {
    const disk = this.#disk;
    if (disk === undefined) return this.monitor;
    return async (op, { at, length }, byte) => {
      switch (op) {
        case "write":
          return disk.write(at, new Uint8Array(length).fill(byte));
        case "discard":
          return disk.discard(at, length);
        default:
          return disk.writeZeroes(at, length, { unmap: op === "zero-unmap" });
      }
    };
  }

  /** Through the human monitor's qemu-io. */
  get monitor(): Changer {
    return async (op, range, byte) => {
      const returned = await this.client.human(`qemu-io drv "${ioCommand(op, range, byte)}"`);
      if (returned !== "") throw new Error(JSON.stringify(returned));
    };
  }

  /** Ends a job that waits to be told so when it is done, and throws if it did not end well. `from`: its first message's number. */
  async finalize(id: string, from: number): Promise<void> {
    await this.client.qmp.next(isStatus(id, "pending"), from);
    await this.execute("job-finalize", { id });
    const end = await endOfJob(this.client, id, from);
    const { error } = end["data"] as { error?: string };
    if (end["event"] !== "BLOCK_JOB_COMPLETED" || error !== undefined) throw new Error(JSON.stringify(end));
  }

  /** Makes a qcow2 image, and a node of the name `target` of it. */
  async addTarget(filename: string, options: object): Promise<void> {
    await this.#create({ driver: "file", filename, size: 0 });
    await this.execute("blockdev-add", { driver: "file", "node-name": TARGET_FILE, filename });
    await this.#create({ driver: "qcow2", file: TARGET_FILE, ...options });
    await this.execute("blockdev-add", { driver: "qcow2", "node-name": TARGET, file: TARGET_FILE, discard: "unmap" });
  }

  async removeTarget(): Promise<void> {
    for (const name of [TARGET, TARGET_FILE]) await this.execute("blockdev-del", { "node-name": name });
  }

  async #create(options: object): Promise<void> {
    const from = this.client.qmp.messages.length;
    await this.execute("blockdev-create", { "job-id": "create", options });
    await this.client.qmp.next(isStatus("create", "concluded"), from);
    const [job] = (await this.execute("query-jobs")) as readonly { error?: string }[];
    if (job?.error !== undefined) throw new Error(job.error);
    await this.execute("job-dismiss", { id: "create" });
  }

  /** The bits of the bitmap, by their hash. */
  async hash(name: string): Promise<string> {
    return ((await this.execute("x-debug-block-dirty-bitmap-sha256", { node: "disk", name })) as { sha256: string })
      .sha256;
  }

  async close(): Promise<void> {
    try {
      await this.#guest?.close();
      const status = await this.client.quit();
      const { errorOutput } = this.client.process;
      if (status !== 0 || errorOutput !== "") throw new Error(`ended with status ${status}: ${errorOutput}`);
    } finally {
      this.client.kill();
    }
  }
}

export function ioCommand(op: Change["op"], { at, length }: Range, byte: number): string {
  switch (op) {
    case "write":
      return `write -P ${byte} ${at} ${length}`;
    case "zero":
      return `write -z ${at} ${length}`;
    case "zero-unmap":
      return `write -zu ${at} ${length}`;
    case "discard":
      return `discard ${at} ${length}`;
  }
}

function isStatus(id: string, status: string): (message: Message) => boolean {
  return ({ event, data }) => {
    const told = data as { id?: string; status?: string } | undefined;
    return event === "JOB_STATUS_CHANGE" && told?.id === id && told.status === status;
  };
}
