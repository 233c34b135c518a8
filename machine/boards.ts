// The boards: where RAM and the virtio-mmio slots stand, and which interrupts the slots have. docs/reference/monitor.md §8.

/** Where virtio-mmio devices go. */
export interface SlotLayout {
  readonly count: number;
  readonly baseAddress: number;
  readonly strideBytes: number;
  /** Which slot is the first device's: the last one, as on QEMU's boards, or the first. */
  readonly order: "from-last" | "from-first";
  /** A slot without a device shows registers with DeviceID 0; otherwise nothing. */
  readonly showEmpty: boolean;
}

/** The device that interrupt lines go into. Slot i has input `firstSlotInput` + i. */
export interface InterruptController {
  readonly type: string;
  /** Of `/machine/unattached/device[N]`, as for the slots. */
  readonly unattachedIndex: number;
  readonly inputs: number;
  readonly firstSlotInput: number;
}

/** One kind of machine. */
export interface Board {
  /** As `query-target` has it. */
  readonly arch: "arm" | "aarch64" | "riscv64";
  /** What `-M virt` stands for. */
  readonly machineType: string;
  readonly maxCpus: number;
  readonly ramId: string;
  readonly defaultCpuType: string;
  readonly numaMemory: boolean;
  readonly ramBase: number;
  readonly slots: SlotLayout;
  /** It is the machine `none`: RAM, and no place for devices. */
  readonly bare?: boolean;
  readonly interrupts: InterruptController;
  /** Slot i is `/machine/unattached/device[firstSlotUnattached + i]`. */
  readonly firstSlotUnattached: number;
}

function armVirt(arch: "arm" | "aarch64"): Board {
  return {
    arch,
    machineType: "virt-10.1",
    maxCpus: 512,
    ramId: "mach-virt.ram",
    defaultCpuType: "cortex-a15-arm-cpu",
    numaMemory: false,
    ramBase: 0x4000_0000,
    slots: { count: 32, baseAddress: 0x0a00_0000, strideBytes: 0x200, order: "from-last", showEmpty: true },
    interrupts: { type: "arm_gic", unattachedIndex: 1, inputs: 288, firstSlotInput: 16 },
    firstSlotUnattached: 8,
  };
}

const riscvVirt: Board = {
  arch: "riscv64",
  machineType: "virt",
  maxCpus: 512,
  ramId: "riscv_virt_board.ram",
  defaultCpuType: "rv64-riscv-cpu",
  numaMemory: true,
  ramBase: 0x8000_0000,
  slots: { count: 8, baseAddress: 0x1000_1000, strideBytes: 0x1000, order: "from-last", showEmpty: true },
  interrupts: { type: "riscv.sifive.plic", unattachedIndex: 2, inputs: 96, firstSlotInput: 1 },
  firstSlotUnattached: 4,
};

/** QEMU's `virt` of the architecture. */
export const virtBoards: Readonly<Record<Board["arch"], Board>> = {
  arm: armVirt("arm"),
  aarch64: armVirt("aarch64"),
  riscv64: riscvVirt,
};

/** The board of scripts: disk i in slot i, nothing in the others. */
export const scriptBoard: Board = {
  ...virtBoards.aarch64,
  slots: { ...virtBoards.aarch64.slots, order: "from-first", showEmpty: false },
};

/** What `-M none` is where `-M virt` is `board`. */
export function bareBoard(board: Board): Board {
  return { ...board, bare: true, slots: { ...board.slots, count: 0 } };
}

/** The board that a program of that name has, as `qemu-system-riscv64` does; aarch64's where the name says nothing. */
export function boardOf(program: string): Board {
  const [, arch] = /^qemu-system-(arm|aarch64|riscv64)(?:\.js)?$/.exec(program) ?? [];
  return virtBoards[(arch as Board["arch"] | undefined) ?? "aarch64"];
}
