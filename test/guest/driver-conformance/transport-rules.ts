// The observable requirements on a driver about registers, status, features and configuration: docs/reference/virtio-conformance.tsv, actor "driver".

import {
  accesses,
  always,
  CONFIG_FEATURES,
  CONFIG_WIDTHS,
  config,
  followed,
  has,
  INIT_LEGACY,
  INIT_MODERN,
  LEGACY,
  legacyOnly,
  lists,
  MODERN,
  modern,
  order,
  QUEUE,
  R,
  READ_ONLY,
  type Rule,
  seen,
  sizes,
  statusSteps,
  text,
  W,
  WRITE_ONLY,
  whileReady,
} from "./rule.ts";

/** See `Rule`. */
export const transportRules: readonly Rule[] = [
  order("STAT-DRV-001", "sets status bits step by step", ["W32 70=0", "W32 70=1", "W32 70=3", "W32 70=(b|7)"], always),
  {
    id: "STAT-DRV-002",
    what: "clears no status bit but by a reset",
    applies: always,
    faults: (recording) =>
      statusSteps(recording)
        .filter(([before, after]) => after !== 0 && (before & ~after) !== 0)
        .map(String),
  },
  {
    id: "FEAT-DRV-001",
    what: "accepts nothing that was not offered",
    applies: always,
    faults: ({ lists: all, offered }) =>
      all.filter(({ accepted }) => (accepted & ~offered) !== 0n).map(() => "a feature"),
  },
  lists(
    "FEAT-DRV-002",
    "accepts nothing whose prerequisite it does not accept",
    always,
    (list) => !has(list, 11) || has(list, 9),
  ),
  {
    id: "CFG-DRV-002",
    what: "reads the configuration between two readings of its generation",
    applies: modern,
    faults: ({ log }) => {
      const generations = log.flatMap((access, i) => (R(0x0fc)(access) ? [i] : []));
      return log.flatMap((access, i) => {
        if (!R(0x100)(access)) return [];
        const before = generations.findLast((at) => at < i);
        const after = generations.find((at) => at > i);
        return before !== undefined && after !== undefined && log[before]!.value === log[after]!.value
          ? []
          : [text(access)];
      });
    },
  },
  accesses("CFG-DRV-003", "touches no field whose feature was not offered", config, ({ offset }, { offered }) => {
    const need = CONFIG_FEATURES.find(([from, to]) => offset - 0x100 >= from && offset - 0x100 < to);
    return need === undefined || ((offered >> BigInt(need[2])) & 1n) === 1n;
  }),
  {
    id: "CFG-DRV-006",
    what: "reads a legacy configuration until two readings agree",
    applies: legacyOnly,
    faults: ({ log }) => (log.filter(R(0x100)).length >= 2 ? [] : ["the capacity was read once"]),
  },
  order("INIT-DRV-001", "follows the order of initialisation", INIT_MODERN, modern),
  accesses(
    "INIT-DRV-002",
    "reads nothing of the configuration before DRIVER",
    config,
    ({ status }) => (status & 2) !== 0,
  ),
  accesses(
    "INIT-DRV-003",
    "writes no configuration before FEATURES_OK",
    (access) => W(0x070)(access) || config(access),
    (access) => !config(access) || access.kind === "R" || (access.status & 8) !== 0,
    modern,
  ),
  accesses("INIT-DRV-004", "accepts nothing after FEATURES_OK", W(0x020), ({ status }) => (status & 8) === 0, modern),
  {
    id: "INIT-DRV-005",
    what: "reads Status again after FEATURES_OK",
    applies: modern,
    faults: (recording) => followed(recording, (access) => W(0x070)(access) && access.value === 0x0b, R(0x070)),
  },
  accesses("INIT-DRV-008", "notifies nobody before DRIVER_OK", W(0x050), ({ status }) => (status & 4) !== 0),
  accesses(
    "INIT-DRV-009",
    "never sets FEATURES_OK on a legacy device",
    W(0x070),
    ({ value }) => (value & 8) === 0,
    legacyOnly,
  ),
  seen("INIT-DRV-010", "alters no descriptor of a buffer that is exposed", always),
  {
    id: "INIT-DRV-011",
    what: "resets the device before it withdraws anything",
    applies: always,
    faults: ({ log }) => (log.filter(W(0x070)).at(-1)?.value === 0 ? [] : ["no reset at the end"]),
  },
  accesses("SUSP-DRV-001", "sets no SUSPEND that was not negotiated", W(0x070), ({ value }) => (value & 0x10) === 0),
  accesses("MMIO-DRV-001", "touches registers and fields of the standard alone", always, ({ offset }, { legacy }) =>
    offset >= 0x100 ? CONFIG_WIDTHS.has(offset - 0x100) : (legacy ? LEGACY : MODERN).includes(offset),
  ),
  accesses(
    "MMIO-DRV-002",
    "writes no read-only register",
    ({ kind }) => kind === "W",
    ({ offset }) => !READ_ONLY.includes(offset),
  ),
  accesses(
    "MMIO-DRV-003",
    "reads no write-only register",
    ({ kind }) => kind === "R",
    ({ offset }) => !WRITE_ONLY.includes(offset),
  ),
  accesses(
    "MMIO-DRV-004",
    "accesses registers with 32 bits",
    ({ offset }) => offset < 0x100,
    ({ offset, width }) => width === 4 && offset % 4 === 0,
  ),
  accesses(
    "MMIO-DRV-005",
    "accesses each field with its own width",
    config,
    ({ offset, width }) => CONFIG_WIDTHS.get(offset - 0x100) === width,
    modern,
  ),
  order("MMIO-DRV-012", "selects before it reads features", ["W32 14=.*", "R32 10=.*"], always),
  order("MMIO-DRV-013", "selects before it writes features", ["W32 24=.*", "W32 20=.*"], always),
  { id: "MMIO-DRV-014", what: "chooses no size above QueueSizeMax", applies: always, faults: sizes },
  {
    id: "MMIO-DRV-015",
    what: "leaves size and addresses of a queue in use alone",
    applies: modern,
    faults: (recording) =>
      whileReady(recording, 0x044, ({ offset }) => offset === 0x038 || (offset >= 0x080 && offset <= 0x0a4)),
  },
  {
    id: "MMIO-DRV-019",
    what: "acknowledges what it read",
    applies: ({ log }) => log.some(R(0x060)),
    faults: ({ log }) =>
      log.flatMap((access, i) =>
        R(0x060)(access) && access.value !== 0 && !(W(0x064)(log[i + 1]!) && log[i + 1]!.value === (access.value & 3))
          ? [text(access)]
          : [],
      ),
  },
  accesses("MMIO-DRV-020", "acknowledges no undefined bit", W(0x064), ({ value }) => (value & ~3) === 0),
  order("MMIO-DRV-024", "begins with MagicValue and Version", ["R32 0=74726976", "R32 4=[12]"], always),
  {
    id: "MMIO-DRV-025",
    what: "then reads DeviceID",
    applies: always,
    faults: ({ log }) =>
      log
        .slice(0, 3)
        .map(({ kind, offset }) => `${kind}${offset}`)
        .join(" ") === "R0 R4 R8"
        ? []
        : ["another order"],
  },
  accesses("MMIO-DRV-028", "leaves shared memory alone", always, ({ offset }) => offset < 0x0ac || offset > 0x0bc),
  order("MMIO-DRV-029", "goes on with the generic sequence", INIT_MODERN.slice(2), modern),
  order("MMIO-DRV-030", "sets each queue up in order", QUEUE, modern),
  {
    id: "MMIO-DRV-033",
    what: "acknowledges every interrupt",
    applies: ({ log }) => log.some(R(0x060)),
    faults: (recording) => followed(recording, (access) => R(0x060)(access) && access.value !== 0, W(0x064)),
  },
  order("MMIO-DRV-034", "sets a legacy queue up in order", INIT_LEGACY, legacyOnly),
  accesses(
    "MMIO-DRV-035",
    "chooses powers of two",
    (access) => W(0x028)(access) || W(0x03c)(access),
    ({ value }) => value > 0 && (value & (value - 1)) === 0,
    legacyOnly,
  ),
  {
    id: "MMIO-DRV-036",
    what: "reads QueueSizeMax of no legacy queue in use",
    applies: legacyOnly,
    faults: (recording) => whileReady(recording, 0x040, R(0x034)),
  },
];
