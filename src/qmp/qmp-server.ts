// The monitor of a machine: one table of commands and one queue of events for any number of clients, and for scripts of the same process.

import type { Clock } from "../base/clock.ts";
import { QmpError } from "../base/errors.ts";
import type { ByteStream } from "../transport/byte-stream.ts";
import { CommandTable } from "./command.ts";
import { EventQueue, type WallClock } from "./events.ts";
import { CommandExecutor } from "./executor.ts";
import type { JsonObject } from "./json/value.ts";
import { MonitorSession, type SessionOptions } from "./monitor-session.ts";
import { type VersionInfo, versionInfo } from "./version.ts";

export interface QmpServerOptions {
  readonly clock: Clock;
  /** The time of day, for the timestamps of events. */
  readonly wallClock: WallClock;
  /** Our version, which query-version tells beside the one of QEMU. */
  readonly version: string;
  /** True until the machine has been made; false from the start where nothing is said. */
  readonly isPreconfig?: () => boolean;
}

/**
 * Commands run one at a time, whether they come over a stream or from a script. Register all commands and events before the first
 * client is served.
 */
export class QmpServer {
  readonly commands: CommandTable = new CommandTable();
  readonly events: EventQueue;
  readonly version: VersionInfo;
  readonly #clock: Clock;
  readonly #executor: CommandExecutor;
  readonly #sessions = new Set<MonitorSession>();

  constructor({ clock, wallClock, version, isPreconfig = () => false }: QmpServerOptions) {
    this.#clock = clock;
    this.version = versionInfo(version);
    this.events = new EventQueue({ clock, wallClock });
    this.#executor = new CommandExecutor({ commands: this.commands, isPreconfig });
  }

  /** Talks QMP over a stream until it ends. Sessions do not wait for each other, their commands do. */
  serve(stream: ByteStream, options: SessionOptions = {}): void {
    const session = new MonitorSession(
      stream,
      { executor: this.#executor, events: this.events, version: this.version, clock: this.#clock },
      options,
    );
    this.#sessions.add(session);
    void stream.closed.then(() => this.#sessions.delete(session));
  }

  /**
   * Runs a command as a client would, from a script: arguments as plain objects, a member that is `undefined` counts as absent. Resolves
   * with what the reply would return. A `QmpError` or `BlockError` if it fails. Not to be awaited within a command, which it would wait for.
   */
  async execute<R = unknown>(name: string, args: object = {}): Promise<R> {
    const outcome = await this.#executor.inTurn(async () => ({
      result: await this.#executor.execute(name, args as JsonObject, { session: undefined }),
    }));
    if (outcome === undefined) throw new QmpError("The monitor has been shut down");
    return outcome.result as R;
  }

  /**
   * Calls `task` when the commands that came before are done, and resolves when it is done too: those that come later wait for it. Once
   * the monitor has been shut down it is not called. Not to be awaited within a command.
   */
  async betweenCommands(task: () => Promise<void>): Promise<void> {
    await this.#executor.inTurn(task);
  }

  /**
   * Runs no more commands than the one that runs, and ends all sessions after its reply. Resolves when all that was said has been
   * sent, which a client who does not read can hold up: its stream is for its owner to close. Not to be awaited within a command.
   */
  async shutdown(): Promise<void> {
    this.#executor.stop();
    await this.#executor.idle();
    this.events.close();
    await Promise.all([...this.#sessions].map((session) => session.end()));
  }
}
