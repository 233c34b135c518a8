// Starts a module of this package in a thread, from its source as from a built package.

import { type Transferable, Worker } from "node:worker_threads";

/** A thread has no TypeScript loader of its own, so the first thing it does is to register the one that the package brings. */
const LOAD_SOURCE = `
const { workerData } = require("node:worker_threads");
import(workerData.loader)
  .then(({ register }) => { register(); return import(workerData.entry); })
  .catch((error) => { setImmediate(() => { throw error; }); });
`;

/**
 * Runs the module `name` beside `base` (an `import.meta.url`), named without its extension. The module finds `data` in
 * `workerData.data`, of which `transferList` is handed over and not copied. The thread keeps no process alive.
 */
export function startThread(
  base: string,
  name: string,
  data: unknown,
  transferList: readonly Transferable[] = [],
): Worker {
  const source = base.endsWith(".ts");
  const entry = new URL(`${name}.${source ? "ts" : "js"}`, base).href;
  const loader = source ? import.meta.resolve("tsx/esm/api") : undefined;
  const worker = source
    ? new Worker(LOAD_SOURCE, {
        eval: true,
        workerData: { data, entry, loader },
        transferList: [...transferList],
        execArgv: ["--conditions=vblk-source"], // whoever runs the sources may have set it without an argument of Node's
      })
    : new Worker(new URL(entry), { workerData: { data }, transferList: [...transferList] });
  worker.unref();
  return worker;
}
