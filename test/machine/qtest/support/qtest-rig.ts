// A qtest server on a board of the test's own: RAM, one bank of registers that remembers, and a controller with interrupt inputs.

import type { InterruptTopology } from "../../../../machine/qtest/interrupt-intercept.ts";
import { QtestServer } from "../../../../machine/qtest/qtest-server.ts";
import { VirtualClock } from "../../../../machine/qtest/virtual-clock.ts";
import { systemClock } from "../../../../src/base/clock.ts";
import { type AccessWidth, Bus, type MmioRegion } from "../../../../src/memory/bus.ts";
import { GuestMemory } from "../../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../../src/memory/interrupt-line.ts";
import { MemoryStream } from "../../../qmp/support/memory-stream.ts";

export const RAM: number = 0x4000_0000;
export const RAM_BYTES: number = 1 << 20;
export const BANK: number = 0x0a00_3e00;
export const CONTROLLER: string = "/machine/unattached/device[1]";

/** Words read as what was written, or as their offset; a store at 0x70 drives pin 47. */
class Bank implements MmioRegion {
  readonly size = 0x200;
  readonly accesses: string[] = [];
  readonly line: InterruptLine;

  constructor(line: InterruptLine) {
    this.line = line;
  }

  read(offset: number, width: AccessWidth): number {
    this.accesses.push(`r${width}@${offset.toString(16)}`);
    return offset;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.accesses.push(`w${width}@${offset.toString(16)}=${value.toString(16)}`);
    if (offset === 0x70) this.line.set(value !== 0);
  }
}

export interface QtestRig {
  readonly server: QtestServer;
  readonly memory: GuestMemory;
  readonly bank: Bank;
  readonly line: InterruptLine;
  readonly clock: VirtualClock;
  readonly log: string[];
  connect(): MemoryStream;
}

export function qtestRig(options: { log?: boolean } = {}): QtestRig {
  const memory = new GuestMemory({ baseAddress: RAM, sizeBytes: RAM_BYTES });
  const bus = new Bus({ memory, unmapped: "zeroes" });
  const line = new InterruptLine();
  const bank = new Bank(line);
  bus.map(BANK, bank);
  const known = [CONTROLLER, "/machine/unattached/device[2]", "/machine"];
  const pins = { path: CONTROLLER, count: 288, lines: new Map([[47, line]]) };
  const interrupts: InterruptTopology = {
    resolve: (name) => known.find((path) => path === name),
    inputs: (path) => (path === CONTROLLER ? pins : undefined),
    outputs: (path, name) =>
      path === CONTROLLER && name === "irq" ? { ...pins, lines: new Map([[0, line]]) } : undefined,
  };
  const clock = new VirtualClock(systemClock);
  const log: string[] = [];
  const server = new QtestServer({
    bus,
    memory,
    interrupts,
    virtualClock: clock,
    clock: systemClock,
    log: options.log === true ? (text) => log.push(text) : undefined,
  });
  const connect = (): MemoryStream => {
    const stream = new MemoryStream();
    server.serve(stream);
    return stream;
  };
  return { server, memory, bank, line, clock, log, connect };
}

/** Sends lines and returns what is answered, without waiting. */
export function ask(stream: MemoryStream, ...lines: readonly string[]): string {
  const before = stream.text.length;
  stream.send(lines.map((line) => `${line}\n`).join(""));
  return stream.text.slice(before);
}
