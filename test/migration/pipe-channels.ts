// Migrations over pipes in memory, from one machine of a test to another.
import { QmpError } from "../../src/base/errors.ts";
import type {
  MigrationAddress,
  MigrationChannel,
  MigrationChannels,
  MigrationListener,
} from "../../src/migration/migration-address.ts";
import { PipeEnd, type PipeFaults } from "./pipe.ts";

export class PipeChannels implements MigrationChannels {
  /** What the next connection does. */
  faults: PipeFaults = {};
  /** Where connections go; `nowhere`: to somebody who reads and is never there. */
  destination: PipeChannels | "nowhere" | undefined;
  /** The source's end of the last connection. */
  pipe: PipeEnd | undefined;
  #onChannel: ((channel: MigrationChannel) => void) | undefined;

  check(): void {}

  async connect(): Promise<MigrationChannel> {
    const { destination } = this;
    if (destination === undefined) throw new QmpError("Failed to connect to 'in': Connection refused");
    const [source, end] = PipeEnd.pair(this.faults);
    this.pipe = source;
    if (destination === "nowhere") end.attach({ onData() {}, onEnd() {}, onClose() {} });
    else destination.accept(end);
    return { stream: source, kind: "socket" };
  }

  async listen(address: MigrationAddress, onChannel: (channel: MigrationChannel) => void): Promise<MigrationListener> {
    this.#onChannel = onChannel;
    return { address, close: async () => {} };
  }

  /** Somebody connects. */
  accept(stream: PipeEnd): void {
    this.#onChannel!({ stream, kind: "socket" });
  }
}
