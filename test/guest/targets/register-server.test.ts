// Registers, RAM and interrupts of a guest in another thread.
import { once } from "node:events";
import type { MessagePort, Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { RegisterServer } from "../../../guest/index.ts";
import { startThread } from "../../../guest/targets/thread.ts";
import type { AccessWidth, MmioRegion } from "../../../src/memory/bus.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../src/memory/interrupt-line.ts";
import type { ThreadProbeOptions } from "../support/thread-probe.ts";

const threads: Worker[] = [];

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.terminate();
});

class Bank implements MmioRegion {
  readonly size = 0x200;
  readonly log: string[] = [];
  /** Called by each access. */
  onAccess: () => void = () => undefined;

  read(offset: number, width: AccessWidth): number {
    this.log.push(`R${width} ${offset.toString(16)}`);
    this.onAccess();
    return width === 4 ? 0xfedc_ba98 : offset & 0xff;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.log.push(`W${width} ${offset.toString(16)}=${value.toString(16)}`);
    this.onAccess();
  }
}

function connect(timeoutMs?: number) {
  const memory = new GuestMemory({ baseAddress: 0x4000_0000, sizeBytes: 4096 });
  const bank = new Bank();
  const line = new InterruptLine();
  const server = new RegisterServer({ memory, region: bank, line });
  const { connection } = server;
  const data: ThreadProbeOptions = { connection, ...(timeoutMs !== undefined && { timeoutMs }) };
  const thread = startThread(import.meta.url, "../support/thread-probe", data, [connection.port as MessagePort]);
  threads.push(thread);
  const ask = async (step: string): Promise<{ value?: unknown; error?: string }> => {
    thread.postMessage(step);
    const [answer] = await once(thread, "message");
    return answer as { value?: unknown; error?: string };
  };
  return { memory, bank, line, server, ask };
}

describe("RegisterServer", () => {
  it("carries out accesses of every width in their order, a notification ahead of what follows it", async () => {
    const { bank, ask } = connect();
    expect(await ask("readAll")).toEqual({ value: [0xfedc_ba98, 0, 4] });
    expect(await ask("writeAll")).toEqual({ value: undefined });
    expect(bank.log).toEqual(["R4 70", "R2 100", "R1 104", "W4 70=ffffffff", "W4 50=3", "W1 120=ff"]);
  });

  it("shares RAM", async () => {
    const { memory, ask } = connect();
    memory.writeU16(0x4000_0000, 0x1234);
    expect(await ask("ram")).toEqual({ value: [0x4000_0000, 4096] });
    expect(memory.readU16(0x4000_0004)).toBe(0x1235);
  });

  it("is not asked for what lies outside the bank", async () => {
    const { bank, ask } = connect();
    expect(await ask("outside")).toEqual({ error: "RangeError: register 0x200 of 4 bytes: the bank has 512 bytes" });
    expect(bank.log).toEqual([]);
  });

  it("answers a register within a millisecond, and leaves the event loop free meanwhile", async () => {
    const { ask } = connect();
    let turns = 0;
    let measuring = true;
    const turn = (): void => {
      turns++;
      if (measuring) setImmediate(turn);
    };
    turn();
    const { value } = await ask("measure");
    measuring = false;
    expect(value).toBeLessThan(1);
    expect(turns).toBeGreaterThan(1000);
  });

  it("tells the level of the line, and wakes who waits for it", async () => {
    const { line, ask } = connect();
    expect(await ask("level")).toEqual({ value: false });
    const wait = ask("wait");
    setImmediate(() => line.set(true));
    expect(await wait).toEqual({ value: true });
    expect(await ask("level")).toEqual({ value: true });
    line.set(false);
    expect(await ask("level")).toEqual({ value: false });
    const again = ask("wait");
    setImmediate(() => line.set(true));
    expect(await again).toEqual({ value: true });
  });

  it("lets go of a guest when it is closed, from within an access too", async () => {
    const { server, bank, ask } = connect();
    bank.onAccess = () => server.close();
    expect(await ask("read")).toEqual({ error: "TargetLostError: the register server was closed" });
    expect(await ask("notify")).toEqual({ error: "TargetLostError: the register server was closed" });
    expect(await ask("read")).toEqual({ error: "TargetLostError: the register server was closed" });
    expect(bank.log).toHaveLength(1);
  });

  it("tells a guest that its device has thrown, and throws that here", async () => {
    const { bank, ask } = connect();
    await ask("level"); // the thread is up
    bank.onAccess = () => {
      throw new Error("a broken device");
    };
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const thrown = once(process, "uncaughtException");
    const answer = await ask("read");
    const [error] = (await thrown) as [Error];
    for (const listener of others) process.on("uncaughtException", listener);
    expect(error.message).toBe("a broken device");
    expect(answer).toEqual({ error: "TargetLostError: the device threw" });
  });

  it("is given up when it does not answer in time", async () => {
    const { bank, ask } = connect(50);
    await ask("read");
    bank.onAccess = () => {
      const until = performance.now() + 300;
      while (performance.now() < until);
    };
    const lost = { error: "TargetLostError: no answer from the device's thread within 50 ms" };
    expect(await ask("read")).toEqual(lost);
    bank.onAccess = () => undefined;
    expect(await ask("read")).toEqual(lost);
  });

  it("knows that the guest has closed its end", async () => {
    const { ask } = connect();
    await ask("close");
    expect(await ask("read")).toEqual({ error: "TargetLostError: the target was closed" });
  });

  it("refuses RAM that no other thread could see", () => {
    const memory = new GuestMemory({ sizeBytes: 4096, buffer: new ArrayBuffer(4096) });
    expect(() => new RegisterServer({ memory, region: new Bank(), line: new InterruptLine() })).toThrow(TypeError);
  });
});
