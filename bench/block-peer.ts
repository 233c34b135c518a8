// Those who do backups when told to by QMP: this project's machine, each time in a process of its own, and QEMU.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { QmpClient, type QmpProgram } from "./qmp-client.ts";

const QEMU = "qemu-system-aarch64";
const SYSTEM = fileURLToPath(new URL("../cli/system.ts", import.meta.url));
/** QEMU gives its buffers back to the system at each turn unless told not to: half its time. */
const TUNED = { MALLOC_TRIM_THRESHOLD_: "1073741824", MALLOC_MMAP_THRESHOLD_: "1073741824" };

/** A job's arguments beside its id and its nodes. */
export type BackupArguments = Readonly<Record<string, unknown>>;

export type ImageFormat = "raw" | "qcow2";

/** What a peer is, and what it is given with every job. */
export interface PeerKind {
  readonly name: string;
  readonly program: QmpProgram;
  readonly backup: BackupArguments;
}

export const OURS: PeerKind = {
  name: "virtio-blk",
  program: { program: process.execPath, args: [...process.execArgv, SYSTEM] },
  backup: {},
};

const QEMU_DEFAULT: PeerKind = { name: "QEMU", program: { program: QEMU }, backup: {} };
const QEMU_TUNED: PeerKind = {
  name: "QEMU, malloc tuned",
  program: { program: QEMU, environment: TUNED },
  backup: {},
};

/** QEMU as it is and with its allocator tuned; none where it is not installed. */
export const QEMUS: readonly PeerKind[] = isInstalled(QEMU) ? [QEMU_DEFAULT, QEMU_TUNED] : [];

/** QEMU with one copy in flight instead of 64, behind which guests do not have to wait. */
export const QEMU_ONE_WORKER: readonly PeerKind[] = QEMUS.slice(1).map((tuned) => ({
  ...tuned,
  name: `${tuned.name}, one worker`,
  backup: { "x-perf": { "max-workers": 1 } },
}));

/** One process with a block layer. */
export class BlockPeer {
  readonly name: string;
  readonly qmp: QmpClient;
  readonly #backup: BackupArguments;

  private constructor(kind: PeerKind, qmp: QmpClient) {
    this.name = kind.name;
    this.qmp = qmp;
    this.#backup = kind.backup;
  }

  /** With these arguments beside those of its kind. */
  static async start(kind: PeerKind, args: readonly string[] = []): Promise<BlockPeer> {
    const { program } = kind;
    return new BlockPeer(kind, await QmpClient.start({ ...program, args: [...(program.args ?? []), ...args] }));
  }

  /** Opens an image as a node of this name. */
  async add(node: string, filename: string, readOnly = false, driver: ImageFormat = "raw"): Promise<void> {
    const file = { driver: "file", filename, "read-only": readOnly };
    await this.qmp.execute("blockdev-add", { "node-name": node, driver, "read-only": readOnly, file });
  }

  async remove(node: string): Promise<void> {
    await this.qmp.execute("blockdev-del", { "node-name": node });
  }

  /** One write of a guest's to a drive, or to a node; resolves when it is done. */
  async write(device: string, offsetBytes: number, lengthBytes: number): Promise<void> {
    const line = `qemu-io ${device} "write -q ${offsetBytes} ${lengthBytes}"`;
    await this.qmp.execute("human-monitor-command", { "command-line": line });
  }

  /** Copies the node `source`, unless `args` name another device, to the node `target`; resolves with the milliseconds from the command to the event. */
  async backUp(args: BackupArguments, meanwhile?: (running: () => boolean) => Promise<void>): Promise<number> {
    const nodes = { device: "source", target: "target" };
    let running = true;
    let elapsedMs = 0;
    const startedMs = performance.now();
    const completed = this.qmp.event("BLOCK_JOB_COMPLETED").then(({ error }) => {
      elapsedMs = performance.now() - startedMs;
      running = false;
      if (error !== undefined) throw new Error(`${this.name}: ${String(error)}`);
    });
    const work = async (): Promise<void> => {
      await this.qmp.execute("blockdev-backup", { "job-id": "job0", ...nodes, ...this.#backup, ...args });
      await meanwhile?.(() => running);
    };
    await Promise.all([work(), completed]);
    // The job leaves its nodes a moment after its event.
    while (((await this.qmp.execute("query-jobs")) as unknown[]).length > 0);
    return elapsedMs;
  }

  end(): Promise<void> {
    return this.qmp.quit();
  }
}

/** Starts one of each kind, calls `use` and ends them: their start is not what is measured. */
export async function withPeers<T>(
  kinds: readonly PeerKind[],
  use: (peers: readonly BlockPeer[]) => Promise<T>,
): Promise<T> {
  const peers: BlockPeer[] = [];
  try {
    for (const kind of kinds) peers.push(await BlockPeer.start(kind));
    return await use(peers);
  } finally {
    for (const peer of peers) await peer.end();
  }
}

export function isInstalled(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}
