// The observable requirements on a driver about virtqueues and notifications: docs/reference/virtio-conformance.tsv, actor "driver".

import {
  accesses,
  followed,
  framed,
  has,
  legacyOnly,
  lists,
  modern,
  order,
  packed,
  QUEUE,
  R,
  type Rule,
  readableFirst,
  seen,
  split,
  W,
} from "./rule.ts";

/** See `Rule`. */
export const ringRules: readonly Rule[] = [
  {
    id: "VQR-DRV-001",
    what: "confirms the reset of a queue",
    applies: ({ log }) => log.some(W(0x0c0)),
    faults: (recording) => followed(recording, W(0x0c0), R(0x0c0), ({ offset }) => offset !== 0x030),
  },
  order("VQR-DRV-003", "sets a queue up anew after its reset", ["W32 c0=1", "R32 c0=0", ...QUEUE], ({ log }) =>
    log.some(W(0x0c0)),
  ),
  order(
    "SPLIT-DRV-001",
    "reads the queue's size before it lays a legacy ring out",
    ["R32 34=.*", "W32 40=.*"],
    legacyOnly,
  ),
  {
    id: "SPLIT-DRV-003",
    what: "uses the legacy layout, of which the device finds every list",
    applies: legacyOnly,
    faults: ({ lists: all, setUps }) => (all.length > 100 && setUps.every(({ zeroed }) => zeroed) ? [] : ["no lists"]),
  },
  {
    id: "SPLIT-DRV-005",
    what: "aligns the parts of a split ring to 16, 2 and 4",
    applies: (recording) => !recording.packed && modern(recording),
    faults: ({ setUps }) =>
      setUps
        .filter((at) => !at.packed && (at.desc % 16 || at.driver % 2 || at.device % 4))
        .map((at) => JSON.stringify(at)),
  },
  lists("SPLIT-DRV-006", "puts readable buffers before writable ones", split, readableFirst),
  lists(
    "SPLIT-DRV-007",
    "uses no more descriptors than header, segments and status",
    split,
    ({ buffers }) => buffers.length <= 4,
  ),
  lists(
    "SPLIT-DRV-008",
    "frames requests as legacy devices expect them",
    (list) => list.legacy && !has(list, 27),
    framed,
  ),
  lists(
    "SPLIT-DRV-009",
    "keeps a list within 2^32 bytes and without loops",
    split,
    (list) =>
      list.ring.length <= list.queueSize && list.buffers.reduce((sum, { length }) => sum + length, 0) <= 2 ** 32,
  ),
  lists(
    "SPLIT-DRV-010",
    "links each descriptor to the one behind it, with IN_ORDER",
    (list) => split(list) && has(list, 35),
    (list) => list.ring.every(({ slot, flags, extra }) => (flags & 1) === 0 || extra === (slot + 1) % list.queueSize),
  ),
  {
    id: "SPLIT-DRV-011",
    what: "takes descriptors in ring order, with IN_ORDER",
    applies: ({ lists: all }) => all.some((list) => split(list) && has(list, 35)),
    faults: ({ lists: all }) =>
      all.flatMap((list, i) => {
        const before = all[i - 1];
        if (!split(list) || !has(list, 35) || before === undefined) return [];
        const head = list.ring[0]!.slot;
        // A queue that was reset begins at slot 0 again.
        return head === (before.ring.at(-1)!.slot + 1) % list.queueSize || head === 0
          ? []
          : [`list ${i} at slot ${head}`];
      }),
  },
  lists(
    "SPLIT-DRV-012",
    "uses no table without INDIRECT_DESC",
    (list) => split(list) && !has(list, 28),
    ({ table }) => table === undefined,
  ),
  lists(
    "SPLIT-DRV-013",
    "uses no table within a table",
    (list) => split(list) && list.table !== undefined,
    ({ table }) => table!.every(({ flags }) => (flags & 4) === 0),
  ),
  lists("SPLIT-DRV-014", "makes no list longer than the queue", split, (list) => list.buffers.length <= list.queueSize),
  lists("SPLIT-DRV-015", "never sets INDIRECT and NEXT together", split, ({ ring }) =>
    ring.every(({ flags }) => (flags & 5) !== 5),
  ),
  lists(
    "SPLIT-DRV-016",
    "links a table's entries in order, with IN_ORDER",
    (list) => split(list) && has(list, 35) && list.table !== undefined,
    ({ table }) => table!.every(({ flags, extra }, i) => (flags & 1) === 0 || extra === i + 1),
  ),
  seen("SPLIT-DRV-017", "never moves avail.idx back", (recording) => !recording.packed),
  seen("SPLIT-DRV-018", "keeps avail.flags at 0 or 1", (recording) =>
    recording.lists.some((list) => split(list) && !has(list, 29)),
  ),
  seen("SPLIT-DRV-020", "keeps avail.flags at 0 with the event index", (recording) =>
    recording.lists.some((list) => split(list) && has(list, 29)),
  ),
  {
    id: "SPLIT-DRV-026",
    what: "zeroes the used ring's flags",
    applies: (recording) => recording.setUps.some((setUp) => !setUp.packed),
    faults: ({ setUps }) => setUps.filter(({ zeroed }) => !zeroed).map(() => "a ring that is not zeroed"),
  },
  {
    id: "PACK-DRV-001",
    what: "aligns the ring to 16 and the event structures to 4",
    applies: ({ setUps }) => setUps.some((setUp) => setUp.packed),
    faults: ({ setUps }) =>
      setUps
        .filter((at) => at.packed && (at.desc % 16 || at.driver % 4 || at.device % 4))
        .map((at) => JSON.stringify(at)),
  },
  {
    ...seen("INIT-DRV-010", "", (recording) => recording.lists.some(packed)),
    id: "PACK-DRV-002",
    what: "changes no descriptor before it is used",
    faults: ({ wrong }) => wrong.filter((line) => line.startsWith("INIT-DRV-010")),
  },
  {
    ...seen("INIT-DRV-010", "", (recording) => recording.lists.some(packed)),
    id: "PACK-DRV-003",
    what: "changes no descriptor once it is available",
    faults: ({ wrong }) => wrong.filter((line) => line.startsWith("INIT-DRV-010")),
  },
  accesses(
    "PACK-DRV-004",
    "tells the next descriptor that is not yet available",
    W(0x050),
    ({ value, position }) => value >>> 16 === position,
    (recording) => recording.packed || recording.lists.some((list) => packed(list) && has(list, 38)),
  ),
  lists("PACK-DRV-006", "makes no list longer than seg_max allows", packed, ({ buffers }) => buffers.length <= 128),
  lists("PACK-DRV-007", "makes no list longer than the queue", packed, (list) => list.ring.length <= list.queueSize),
  lists("PACK-DRV-008", "puts readable buffers before writable ones", packed, readableFirst),
  lists(
    "PACK-DRV-012",
    "uses no table without INDIRECT_DESC",
    (list) => packed(list) && !has(list, 28),
    ({ table }) => table === undefined,
  ),
  lists(
    "PACK-DRV-013",
    "sets WRITE at most in a table",
    (list) => packed(list) && list.table !== undefined,
    ({ table }) => table!.every(({ flags }) => (flags & ~2) === 0),
  ),
  lists(
    "PACK-DRV-014",
    "makes no table longer than the device allows",
    (list) => packed(list) && list.table !== undefined,
    ({ table }) => table!.length <= 128,
  ),
  lists(
    "PACK-DRV-015",
    "puts no table into a list",
    (list) => packed(list) && list.table !== undefined,
    ({ ring }) => ring.length === 1 && (ring[0]!.flags & 1) === 0,
  ),
  seen("PACK-DRV-018", "turns AVAIL and USED with each lap", (recording) => recording.lists.some(packed)),
  {
    id: "PACK-DRV-019",
    what: "zeroes the ring",
    applies: ({ setUps }) => setUps.some((setUp) => setUp.packed),
    faults: ({ setUps }) => setUps.filter(({ zeroed }) => !zeroed).map(() => "a ring that is not zeroed"),
  },
  accesses(
    "NOTIF-DRV-001",
    "tells avail.idx with a notification",
    W(0x050),
    ({ value, position }) => value >>> 16 === position,
    (recording) => recording.lists.some((list) => split(list) && has(list, 38)),
  ),
  accesses(
    "NOTIF-DRV-002",
    "tells slot and wrap counter with a notification",
    W(0x050),
    ({ value, position }) => value >>> 16 === position,
    (recording) => recording.lists.some((list) => packed(list) && has(list, 38)),
  ),
];
