// The commands in an incoming stream, and what they make of a machine that comes up: docs/reference/migration-stream.md §2, §4.

import { BinaryWriter } from "./binary-writer.ts";
import { StreamError } from "./stream-error.ts";
import {
  CMD_OPEN_RETURN_PATH,
  CMD_PACKAGED,
  CMD_PING,
  CMD_POSTCOPY_ADVISE,
  CMD_POSTCOPY_LISTEN,
  CMD_POSTCOPY_RUN,
  CMD_SWITCHOVER_START,
  RP_PONG,
  RP_SHUT,
} from "./stream-format.ts";
import type { StreamSource } from "./stream-source.ts";

interface CommandShape {
  readonly name: string;
  /** Of its data; undefined where that varies. */
  readonly length: number | undefined;
}

const COMMANDS: ReadonlyMap<number, CommandShape> = new Map([
  [CMD_OPEN_RETURN_PATH, { name: "OPEN_RETURN_PATH", length: 0 }],
  [CMD_PING, { name: "PING", length: 4 }],
  [CMD_POSTCOPY_ADVISE, { name: "POSTCOPY_ADVISE", length: undefined }],
  [CMD_POSTCOPY_LISTEN, { name: "POSTCOPY_LISTEN", length: 0 }],
  [CMD_POSTCOPY_RUN, { name: "POSTCOPY_RUN", length: 0 }],
  [CMD_PACKAGED, { name: "PACKAGED", length: 4 }],
  [CMD_SWITCHOVER_START, { name: "SWITCHOVER_START", length: 0 }],
]);

/** QEMU's numbers, which its messages have. */
const POSTCOPY_NONE = 0;
const POSTCOPY_ADVISED = 1;
const POSTCOPY_LISTENING = 3;
const POSTCOPY_RUNNING = 4;

/** Advice about pages of RAM: two words. */
const RAM_ADVISE_BYTES = 16;

export interface StreamCommandsOptions {
  /** Sends to the source. */
  readonly reply: (bytes: Uint8Array) => void;
  /** The capability postcopy-ram is on here. */
  readonly postcopyRam: () => boolean;
  /** The rest of the stream comes while the machine runs. */
  readonly onListen: () => void;
  /** The machine may run now. */
  readonly onRun: () => void | Promise<void>;
}

/**
 * The state that commands change:
 *
 *   none ──ADVISE──▶ advised ──LISTEN──▶ listening ──RUN──▶ running        and, apart from that: no return path ──OPEN──▶ one
 */
export class StreamCommands {
  readonly #options: StreamCommandsOptions;
  #postcopy = POSTCOPY_NONE;
  #hasReturnPath = false;

  constructor(options: StreamCommandsOptions) {
    this.#options = options;
  }

  /** From LISTEN on. */
  get listening(): boolean {
    return this.#postcopy >= POSTCOPY_LISTENING;
  }

  /** Tells the source how it went, where it wants to know: 0 is well. */
  shut(status: 0 | 1): void {
    if (this.#hasReturnPath) this.#send(RP_SHUT, status);
  }

  /** Carries out a command whose data begin here. Returns the length of what is packaged behind it, or 0. */
  async load(source: StreamSource, command: number, length: number): Promise<number> {
    const shape = COMMANDS.get(command);
    if (shape === undefined) {
      throw new StreamError("EINVAL", `MIG_CMD 0x${command.toString(16)} unknown (len 0x${length.toString(16)})`);
    }
    if (shape.length !== undefined && shape.length !== length) {
      throw new StreamError(
        "ERANGE",
        `${shape.name} received with bad length - expecting ${shape.length}, got ${length}`,
      );
    }
    switch (command) {
      case CMD_OPEN_RETURN_PATH:
        if (this.#hasReturnPath)
          throw new StreamError("EPERM", "CMD_OPEN_RETURN_PATH received with a return path open");
        this.#hasReturnPath = true;
        return 0;
      case CMD_PING:
        await source.need(4);
        this.#ping(source.u32());
        return 0;
      case CMD_POSTCOPY_ADVISE:
        await this.#advise(source, length);
        return 0;
      case CMD_POSTCOPY_LISTEN:
        this.#step("CMD_POSTCOPY_LISTEN", POSTCOPY_ADVISED, POSTCOPY_LISTENING);
        this.#options.onListen();
        return 0;
      case CMD_POSTCOPY_RUN:
        this.#step("CMD_POSTCOPY_RUN", POSTCOPY_LISTENING, POSTCOPY_RUNNING);
        await this.#options.onRun();
        return 0;
      case CMD_PACKAGED:
        await source.need(4);
        return source.u32();
      default:
        return 0; // SWITCHOVER_START says what the end of sections says too
    }
  }

  #ping(value: number): void {
    if (!this.#hasReturnPath) {
      throw new StreamError("EPERM", `CMD_PING (0x${value.toString(16)}) received with no return path`);
    }
    this.#send(RP_PONG, value);
  }

  async #advise(source: StreamSource, length: number): Promise<void> {
    this.#step("CMD_POSTCOPY_ADVISE", POSTCOPY_NONE, POSTCOPY_ADVISED);
    if (length === 0) return;
    if (length !== RAM_ADVISE_BYTES) throw new StreamError("EINVAL", `CMD_POSTCOPY_ADVISE invalid length (${length})`);
    if (!this.#options.postcopyRam()) {
      throw new StreamError("EINVAL", "RAM postcopy is disabled but have 16 byte advise");
    }
    await source.skip(length);
  }

  #step(command: string, from: number, to: number): void {
    if (this.#postcopy !== from) {
      throw new StreamError("EPERM", `${command} in wrong postcopy state (${this.#postcopy})`);
    }
    this.#postcopy = to;
  }

  #send(type: number, value: number): void {
    this.#options.reply(new BinaryWriter().u16(type).u16(4).u32(value).take());
  }
}
