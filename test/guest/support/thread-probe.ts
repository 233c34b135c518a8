// A guest's thread that does what it is told and tells what came of it. Run by register-server.test.ts.

import { parentPort, workerData } from "node:worker_threads";
import { type RegisterConnection, ThreadTarget } from "../../../guest/index.ts";

export interface ThreadProbeOptions {
  readonly connection: RegisterConnection;
  readonly timeoutMs?: number;
}

const { connection, ...options } = (workerData as { readonly data: ThreadProbeOptions }).data;
const target = new ThreadTarget(connection, options);

const STEPS: Readonly<Record<string, () => unknown>> = {
  readAll: () => [target.readRegister(0x70), target.readRegister(0x100, 2), target.readRegister(0x104, 1)],
  writeAll: () => {
    target.writeRegister(0x70, -1);
    target.writeRegister(0x50, 3);
    target.writeRegister(0x120, 0x1ff, 1);
  },
  outside: () => target.readRegister(0x200),
  ram: () => {
    target.writeRam16(target.ramBase + 4, target.readRam16(target.ramBase) + 1);
    return [target.ramBase, target.ramSizeBytes];
  },
  read: () => target.readRegister(0x70),
  notify: () => target.writeRegister(0x50, 0),
  measure: () => {
    const times: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const before = performance.now();
      target.readRegister(0x70);
      times.push(performance.now() - before);
    }
    return times.sort((a, b) => a - b)[1000];
  },
  wait: () => target.waitForInterrupt({ timeoutMs: 10_000 }),
  level: () => target.interruptRaised,
  close: () => target.close(),
};

parentPort!.on("message", async (step: string) => {
  try {
    parentPort!.postMessage({ value: await STEPS[step]!() });
  } catch (error) {
    parentPort!.postMessage({ error: `${(error as Error).name}: ${(error as Error).message}` });
  }
});
