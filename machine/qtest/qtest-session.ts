// A conversation with one qtest client: lines in, answers and interrupts out. docs/reference/monitor.md §7.

import { Buffer } from "node:buffer";
import type { Clock } from "../../src/base/clock.ts";
import type { BlockError } from "../../src/base/errors.ts";
import type { ByteStream, ByteStreamListener } from "../../src/transport/byte-stream.ts";
import { LineBuffer, OVERLONG_LINE } from "./line-buffer.ts";
import { MalformedCommandError, type QtestCommand } from "./qtest-command.ts";
import type { QtestLog } from "./qtest-log.ts";

/** The longest command writes 64 MiB in hexadecimal digits. */
const MAX_LINE_BYTES = (128 << 20) + 4096;
/** Answers are written when there are so many bytes of them, or when all commands that have come are done. */
const BATCH_BYTES = 64 << 10;
/** No command of a client who has so much still to read is carried out. */
const MAX_BACKLOG_BYTES = 1 << 20;
/** Interrupts cannot be held up: a client who has so much still to read is cut off. */
const MAX_INTERRUPT_BACKLOG_BYTES = 64 << 20;
/** A client who never pauses leaves a turn to others so often. */
const MAX_TURN_MS = 2;
const COMMANDS_BETWEEN_LOOKS = 32;

export interface QtestSessionServices {
  readonly commands: ReadonlyMap<string, QtestCommand>;
  readonly clock: Clock;
  readonly log: QtestLog | undefined;
}

/**
 * Commands are carried out in their order, as many as have come in one go, and what they answer is written at once. An interrupt that
 * a command causes stands before its answer.
 *
 *   reading ──bytes──▶ carrying out ──a turn is over, or the client does not read──▶ waiting ──▶ carrying out ──▶ reading
 *
 * The stream is paused while lines are waiting.
 */
export class QtestSession implements ByteStreamListener {
  readonly #stream: ByteStream;
  readonly #services: QtestSessionServices;
  readonly #lines = new LineBuffer(MAX_LINE_BYTES);
  readonly #unread: Uint8Array[] = [];
  #answers = "";
  #state: "reading" | "carrying out" | "waiting" = "reading";
  #paused = false;
  #ended = false;
  #closed = false;
  #drained: (() => void) | undefined;

  constructor(stream: ByteStream, services: QtestSessionServices) {
    this.#stream = stream;
    this.#services = services;
    services.log?.opened();
    stream.attach(this);
  }

  /** An interrupt line has changed. */
  interrupt(pin: number, raised: boolean): void {
    if (this.#closed) return;
    this.#say(raised ? `IRQ raise ${pin}` : `IRQ lower ${pin}`);
    if (this.#state === "carrying out") return;
    this.#flush();
    if (this.#stream.backlogBytes > MAX_INTERRUPT_BACKLOG_BYTES) this.#stream.close();
  }

  onData(bytes: Uint8Array): void {
    this.#unread.push(bytes);
    if (this.#state === "reading") this.#carryOut();
    else this.#pause();
  }

  onDrain(): void {
    this.#drained?.();
  }

  onEnd(): void {
    this.#ended = true;
    if (this.#state === "reading") this.#finish();
  }

  onClose(_error?: BlockError): void {
    this.#closed = true;
    this.#services.log?.closed();
    this.#drained?.();
  }

  /** Carries out what has come, and waits between turns and for a client who does not read. */
  #carryOut(): void {
    this.#state = "carrying out";
    const { clock } = this.#services;
    const endMs = clock.nowMs() + MAX_TURN_MS;
    for (let count = 1; this.#carryOutNext(); count++) {
      if (this.#answers.length >= BATCH_BYTES) this.#flush();
      if (this.#stream.backlogBytes > MAX_BACKLOG_BYTES) return this.#wait(this.#untilDrained());
      if (count % COMMANDS_BETWEEN_LOOKS === 0 && clock.nowMs() >= endMs) return this.#wait(clock.yield());
    }
    this.#flush();
    this.#state = "reading";
    if (this.#ended) this.#finish();
    else this.#resume();
  }

  #wait(until: Promise<void>): void {
    this.#flush();
    this.#state = "waiting";
    this.#pause();
    void until.then(() => {
      if (!this.#closed) this.#carryOut();
    });
  }

  #pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#stream.resume();
  }

  #untilDrained(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = () => {
        this.#drained = undefined;
        resolve();
      };
    });
  }

  /** False when nothing whole is left. */
  #carryOutNext(): boolean {
    if (this.#closed) return false;
    let line = this.#lines.next();
    while (line === undefined) {
      const bytes = this.#unread.shift();
      if (bytes === undefined) return false;
      this.#lines.push(bytes);
      line = this.#lines.next();
    }
    if (line === OVERLONG_LINE) {
      this.#say(`FAIL a command has more than ${MAX_LINE_BYTES} bytes`);
      return true;
    }
    this.#services.log?.received(line);
    this.#say(this.#answer(line.split(" ")));
    return true;
  }

  #answer(words: readonly string[]): string {
    const name = words[0] ?? "";
    const command = this.#services.commands.get(name);
    if (command === undefined) return `FAIL Unknown command '${name}'`;
    try {
      return command(words);
    } catch (error) {
      if (error instanceof MalformedCommandError) return `FAIL ${error.message}`;
      throw error;
    }
  }

  #say(line: string): void {
    this.#answers += `${line}\n`;
    this.#services.log?.sent(line);
  }

  #flush(): void {
    this.#services.log?.flush();
    if (this.#answers === "") return;
    this.#stream.write(Buffer.from(this.#answers, "latin1"));
    this.#answers = "";
  }

  #finish(): void {
    void this.#stream.end();
  }
}
