// A thread of the guest that rewrites a descriptor and the header behind it as fast as it can, until it is told to stop.
import { workerData } from "node:worker_threads";

// `ram`: the guest's RAM. `control`: [0] 1 to stop, [1] rounds so far. `words`: indices of 32-bit words and what to write there in turn.
const { ram, control, words } = workerData;
const memory = new Uint32Array(ram);
const state = new Int32Array(control);

for (let round = 0; Atomics.load(state, 0) === 0; round++) {
  // Each word goes through its values at a pace of its own, so that every mixture of them comes up.
  for (const [i, { index, values }] of words.entries()) memory[index] = values[(round >>> i) % values.length];
  if (round % 64 === 0) {
    Atomics.store(state, 1, round);
    Atomics.notify(state, 1);
  }
}
