// A monitor with commands made for tests, and clients on it.
import { BlockError, QmpError } from "../../../src/base/errors.ts";
import { defineCommand } from "../../../src/qmp/command.ts";
import { generalCommands } from "../../../src/qmp/commands/general.ts";
import { defineEvent, type EventDefinition } from "../../../src/qmp/events.ts";
import type { SessionOptions } from "../../../src/qmp/monitor-session.ts";
import { QmpServer } from "../../../src/qmp/qmp-server.ts";
import { any, array, object, optional, str, uint32 } from "../../../src/qmp/schema/types.ts";
import { ManualClock } from "../../guest/support/manual-clock.ts";
import { MemoryStream } from "./memory-stream.ts";

export const HAPPENED: EventDefinition<{ readonly what: string }> = defineEvent("HAPPENED", object({ what: str }));
export const NOTHING: EventDefinition<void> = defineEvent("NOTHING");
export const RARE: EventDefinition<{ readonly device: string; readonly count: number }> = defineEvent(
  "RARE",
  object({ device: str, count: uint32 }),
  { periodMs: 1000, key: ({ device }) => device },
);

/** The commands: `echo`, `emit`, `fail`, `wait` (until `release`), `log` (of those that ran), and the general ones. */
export class TestMonitor {
  readonly clock: ManualClock = new ManualClock();
  readonly server: QmpServer;
  /** The commands that have begun and ended, in order. */
  readonly log: string[] = [];
  preconfig = false;
  wallMs = 1_700_000_000_123.5;
  #released: (() => void)[] = [];
  #quits = 0;

  constructor() {
    this.server = new QmpServer({
      clock: this.clock,
      wallClock: { nowMs: () => this.wallMs },
      version: "1.2.3",
      isPreconfig: () => this.preconfig,
    });
    const { commands, events } = this.server;
    events.declare(HAPPENED, NOTHING, RARE);
    commands.add(
      ...generalCommands(this.server, { name: undefined, quit: () => this.#quit() }),
      defineCommand({
        name: "echo",
        arguments: object({ value: optional(any) }),
        returns: object({ value: optional(any) }),
        run: (args) => args,
      }),
      defineCommand({
        name: "emit",
        arguments: object({ what: str }),
        run: ({ what }) => events.emit(HAPPENED, { what }),
      }),
      defineCommand({
        name: "fail",
        arguments: object({ how: str }),
        run({ how }) {
          if (how === "block") throw new BlockError("ENOSPC", "Could not write: No space left on device");
          if (how === "device") throw new QmpError("Block job 'x' not found", "DeviceNotActive");
          throw new TypeError(how);
        },
      }),
      defineCommand({
        name: "wait",
        arguments: object({ tag: str }),
        returns: array(str),
        run: async ({ tag }) => {
          this.log.push(`${tag} begins`);
          await new Promise<void>((resolve) => this.#released.push(resolve));
          this.log.push(`${tag} ends`);
          return [tag];
        },
      }),
      defineCommand({
        name: "log",
        arguments: object({ tag: str }),
        run: ({ tag }) => {
          this.log.push(tag);
        },
      }),
    );
  }

  get waiting(): number {
    return this.#released.length;
  }

  /** Lets the command `wait` that runs end. */
  release(): void {
    for (const resolve of this.#released.splice(0)) resolve();
  }

  /** A client, before negotiation. */
  connect(options?: SessionOptions): MemoryStream {
    const stream = new MemoryStream();
    this.server.serve(stream, options);
    return stream;
  }

  /** A client after negotiation: two messages have come. */
  async client(options?: SessionOptions): Promise<MemoryStream> {
    const stream = this.connect(options);
    stream.send('{"execute":"qmp_capabilities"}');
    await stream.until(2);
    return stream;
  }

  get quits(): number {
    return this.#quits;
  }

  #quit(): void {
    this.#quits++;
    this.server.events.emit(HAPPENED, { what: "shutdown" });
    void this.server.shutdown();
  }
}

/** Lets everything that can happen now happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
