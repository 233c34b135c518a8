// The destination of one migration: docs/reference/migration-stream.md §3, §4, §5, persistence-migration.md §5.3.

import type { BlockError } from "../base/errors.ts";
import type { RunStateName } from "../base/run-state.ts";
import type { ByteStreamListener } from "../transport/byte-stream.ts";
import { bitmapSection } from "./bitmap-decoder.ts";
import { BitmapReceiver } from "./bitmap-receiver.ts";
import { globalStateSection, ramSection, timerSection } from "./machine-sections.ts";
import type { MigrationAddress, MigrationChannel, MigrationListener } from "./migration-address.ts";
import type { MigrationHost, MigrationStatus } from "./migration-host.ts";
import type { MigrationSettings } from "./migration-settings.ts";
import { StreamCommands } from "./stream-commands.ts";
import { StreamError } from "./stream-error.ts";
import { StreamLoader } from "./stream-loader.ts";
import { StreamSource } from "./stream-source.ts";

export interface IncomingHost extends MigrationHost {
  /**
   * Takes the images, which were another's until now, and the machine is what it was there: it runs, or is in a state. It stands
   * still where it cannot have them, which is told.
   */
  arrive(runState: RunStateName): Promise<void>;
  /** It will not arrive. The program ends. */
  onLost(): void;
}

const LOST_IN_POSTCOPY =
  "loadvm failed during postcopy: -5. All states are migrated except dirty bitmaps. Some dirty bitmaps may be lost, " +
  "and present migrated dirty bitmaps are correctly migrated and valid.";

/**
 *   setup ──▶ active ──▶ [postcopy-active ──▶] completed, or failed
 *
 * The machine waits in `inmigrate` until it has arrived; in a postcopy it runs from then on while bits still come.
 */
export class IncomingMigration {
  readonly #host: IncomingHost;
  readonly #settings: MigrationSettings;
  #status: MigrationStatus = "none";
  #listener: MigrationListener | undefined;
  #channel: MigrationChannel | undefined;
  #source: StreamSource | undefined;
  #receiver: BitmapReceiver | undefined;
  #runState: RunStateName = "running";
  #arrived = false;
  #loading: Promise<void> | undefined;
  #closed = false;

  constructor(host: IncomingHost, settings: MigrationSettings) {
    this.#host = host;
    this.#settings = settings;
  }

  get status(): MigrationStatus {
    return this.#status;
  }

  /** Where it listens, if that is a socket. */
  get address(): MigrationAddress | undefined {
    return this.#listener?.address;
  }

  /** Waits for the source at `address`. Rejects with a `QmpError`, and may then be called again. */
  async listen(address: MigrationAddress): Promise<void> {
    this.#setStatus("setup");
    try {
      this.#listener = await this.#host.channels.listen(address, (channel) => this.#accept(channel));
    } catch (error) {
      this.#status = "none";
      throw error;
    }
    if (this.#closed) await this.#listener.close();
  }

  /** The machine goes: nobody is waited for, and nothing half-made stays. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener?.close();
    this.#source?.onEnd();
    this.#channel?.stream.close();
    this.#receiver?.drop();
    await this.#loading;
  }

  /** From the first byte on, or at once on a socket: a command that prints nothing has not begun. */
  #accept(channel: MigrationChannel): void {
    const { stream, kind } = channel;
    if (this.#channel !== undefined || this.#closed) {
      stream.close();
      return;
    }
    this.#channel = channel;
    const source = new StreamSource(stream);
    this.#source = source;
    let begun = false;
    const begin = (): void => {
      if (begun) return;
      begun = true;
      this.#loading = this.#load(source, channel);
    };
    const listener: ByteStreamListener = {
      onData(bytes) {
        begin();
        source.onData(bytes);
      },
      onEnd: () => source.onEnd(),
      onClose: (error?: BlockError) => source.onClose(error),
    };
    if (kind === "socket") begin();
    stream.attach(listener);
  }

  async #load(source: StreamSource, { stream }: MigrationChannel): Promise<void> {
    const host = this.#host;
    const settings = this.#settings;
    const report = (line: string): void => host.report(line);
    const receiver = new BitmapReceiver({ graph: host.graph, mapping: settings.mapping, report });
    this.#receiver = receiver;
    const commands = new StreamCommands({
      reply: (bytes) => void stream.write(bytes),
      postcopyRam: () => settings.has("postcopy-ram"),
      onListen: () => this.#setStatus("postcopy-active"),
      onRun: () => this.#arrive(receiver),
    });
    const loader = new StreamLoader({
      source,
      configuration: {
        machine: host.machine,
        uuid: host.uuid,
        capability: (name) => settings.lookup(name),
      },
      sections: new Map([
        ["ram", ramSection],
        ["dirty-bitmap", bitmapSection(receiver)],
        ["timer", timerSection],
        [
          "globalstate",
          globalStateSection((state) => {
            this.#runState = state;
          }),
        ],
      ]),
      commands,
      report,
    });
    this.#setStatus("active");
    try {
      await loader.load();
      if (this.#closed) return;
      await this.#arrive(receiver);
      if (this.#closed) return;
      receiver.finish();
      commands.shut(0);
      this.#setStatus("completed");
      await stream.end();
    } catch (error) {
      if (!(error instanceof StreamError)) throw error; // a mistake of ours
      receiver.drop();
      if (!this.#closed) this.#fail(error, commands);
    } finally {
      stream.close();
      await this.#listener?.close();
    }
  }

  /** Once, whichever way it came. */
  async #arrive(receiver: BitmapReceiver): Promise<void> {
    if (this.#arrived) return;
    this.#arrived = true;
    receiver.beforeStart();
    await this.#host.arrive(this.#runState);
  }

  #fail(error: StreamError, commands: StreamCommands): void {
    const host = this.#host;
    if (this.#arrived && this.#settings.has("dirty-bitmaps")) {
      for (const line of error.lines) host.report(line);
      host.report(`postcopy_ram_listen_thread: ${LOST_IN_POSTCOPY}`);
      this.#setStatus("completed");
      return;
    }
    commands.shut(1);
    if (this.#arrived) {
      for (const line of error.lines) host.report(line);
      host.report("postcopy_ram_listen_thread: loadvm failed: -5");
    } else {
      for (const line of error.report) host.report(line);
    }
    this.#setStatus("failed");
    host.onLost();
  }

  #setStatus(status: MigrationStatus): void {
    this.#status = status;
    this.#host.onStatus(status);
  }
}
