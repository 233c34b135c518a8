// Where a qtest client can listen to a board's interrupts: docs/reference/monitor.md §7, §8.

import { qomTree, resolveQomPath, transportPath } from "./qom-tree.ts";
import type { InterceptedPins, InterruptTopology } from "./qtest/interrupt-intercept.ts";
import type { SystemMachine } from "./system-machine.ts";

/** What a virtio-mmio transport calls its output. */
const TRANSPORT_OUTPUT = "sysbus-irq";

/** The interrupt controller's inputs, and the output of each slot's transport. */
export class QomInterrupts implements InterruptTopology {
  readonly #machine: SystemMachine;

  constructor(machine: SystemMachine) {
    this.#machine = machine;
  }

  resolve(name: string): string | undefined {
    const found = resolveQomPath(qomTree(this.#machine), name);
    return found === "ambiguous" ? undefined : found?.path;
  }

  inputs(path: string): InterceptedPins | undefined {
    const { board, slots } = this.#machine;
    const { unattachedIndex, inputs, firstSlotInput } = board.interrupts;
    if (path !== `/machine/unattached/device[${unattachedIndex}]`) return undefined;
    return { path, count: inputs, lines: new Map(slots.lines.map((line, slot) => [firstSlotInput + slot, line])) };
  }

  outputs(path: string, name: string | undefined): InterceptedPins | undefined {
    if (name !== TRANSPORT_OUTPUT) return undefined;
    const slot = this.#machine.slots.lines.findIndex(
      (_, candidate) => transportPath(this.#machine, candidate) === path,
    );
    const line = this.#machine.slots.lines[slot];
    return line === undefined ? undefined : { path, count: 1, lines: new Map([[0, line]]) };
  }
}
