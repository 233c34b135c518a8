// Where the first virtio-mmio device of a board is, and how its interrupt is seen: docs/reference/monitor.md §8.

/** A board `virt`, as far as the suite has to know it. */
export interface QtestBoard {
  readonly ramBase: number;
  /** The register bank of the first device. */
  readonly registerBase: number;
  /** The input of the interrupt controller that the first device raises. */
  readonly interrupt: number;
  /** The interrupt controller, for irq_intercept_in. */
  readonly interruptController: string;
}

const ARM: QtestBoard = {
  ramBase: 0x4000_0000,
  registerBase: 0x0a00_3e00,
  interrupt: 47,
  interruptController: "/machine/unattached/device[1]",
};

const RISCV: QtestBoard = {
  ramBase: 0x8000_0000,
  registerBase: 0x1000_8000,
  interrupt: 8,
  interruptController: "/machine/unattached/device[2]",
};

/** The board that a program of this name has: by the architecture at its end; that of arm for any other name. */
export function boardOf(program: string): QtestBoard {
  return /riscv(32|64)$/.test(program) ? RISCV : ARM;
}
