// A listener that keeps what it is told, and lets a test wait for it.
import type { BlockError } from "../../../src/base/errors.ts";
import type { ByteStreamListener } from "../../../src/transport/byte-stream.ts";

export class RecordingListener implements ByteStreamListener {
  bytes: Buffer = Buffer.alloc(0);
  drains = 0;
  ends = 0;
  closes: (BlockError | undefined)[] = [];
  #waiting: (() => void)[] = [];
  readonly #atEnd: () => void;

  constructor(atEnd: () => void = () => {}) {
    this.#atEnd = atEnd;
  }

  onData(bytes: Uint8Array): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
    this.#tell();
  }

  onDrain(): void {
    this.drains++;
    this.#tell();
  }

  onEnd(): void {
    this.ends++;
    this.#atEnd();
    this.#tell();
  }

  onClose(error?: BlockError): void {
    this.closes.push(error);
    this.#tell();
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
