// Broken rules of registers, status, features and notifications: VIRTIO 1.4 §2.1, §2.2, §2.4 to §2.6, §3.1, §4.2, §6.
import { type Mutant, mutantsOf } from "./mutant.ts";

const transport = mutantsOf("virtio-mmio/mmio-transport.ts", [
  [
    "used-buffer-is-config-change",
    "sets the bit of a configuration change for used buffers",
    "const INTERRUPT_USED_BUFFER = 1;",
    "const INTERRUPT_USED_BUFFER = 2;",
  ],
  [
    "config-change-sets-both-bits",
    "sets both bits of InterruptStatus when the configuration changes",
    "const INTERRUPT_CONFIG_CHANGE = 2;",
    "const INTERRUPT_CONFIG_CHANGE = 3;",
  ],
  [
    "config-change-before-driver-ok",
    "notifies of a configuration change before DRIVER_OK",
    "if (this.#driverOk) this.#setInterruptStatus(",
    "this.#setInterruptStatus(",
  ],
  [
    "config-change-not-notified",
    "says nothing of a configuration change",
    "if (this.#driverOk) this.#setInterruptStatus(",
    "if (this.#broken) this.#setInterruptStatus(",
  ],
  [
    "config-generation-kept",
    "has the same generation for another configuration",
    "this.#configGeneration = (this.#configGeneration + 1) >>> 0;",
    "",
  ],
  [
    "needs-reset-not-set",
    "does not ask for a reset when a ring is broken",
    "this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET;",
    "",
  ],
  [
    "needs-reset-not-notified",
    "asks for a reset without a notification",
    "if (this.#driverOk) configChange = INTERRUPT_CONFIG_CHANGE; // §2.1.2",
    "",
  ],
  [
    "acknowledge-clears-all",
    "clears all of InterruptStatus when one bit is acknowledged",
    "this.#setInterruptStatus(this.#interruptStatus & ~bits);",
    "this.#setInterruptStatus(0);",
  ],
  [
    "acknowledge-ignored",
    "does not clear InterruptStatus",
    "this.#setInterruptStatus(this.#interruptStatus & ~bits);",
    "",
  ],
  [
    "line-not-lowered",
    "leaves the interrupt line raised",
    "this.#line.set(this.#interruptStatus !== 0);",
    "this.#line.set(true);",
  ],
  [
    "line-not-raised",
    "never raises the interrupt line",
    "this.#line.set(this.#interruptStatus !== 0);",
    "this.#line.set(false);",
  ],
  [
    "queues-run-before-driver-ok",
    "looks at queues that are notified before DRIVER_OK",
    "if (!this.#running || this.#enabled[index] !== true) return false;",
    "if (this.#enabled[index] !== true) return false;\n    if (!this.#running) this.#device.go();",
  ],
  [
    "notification-data-not-masked",
    "takes the whole of NOTIFICATION_DATA for the queue's number",
    "hasFeature(features, VIRTIO_F_NOTIFICATION_DATA) ? 0xffff : -1",
    "-1",
  ],
  [
    "queue-not-stopped",
    "uses a queue that is not ready any more",
    "    this.#device.stopQueue(queue);\n    this.#enabled[queue] = false;",
    "    this.#enabled[queue] = false;",
  ],
  [
    "queue-still-enabled",
    "shows a queue ready that was made unready",
    "    this.#device.stopQueue(queue);\n    this.#enabled[queue] = false;",
    "    this.#device.stopQueue(queue);",
  ],
  ["reset-leaves-queues-enabled", "shows queues ready after a reset", "this.#enabled.fill(false);", ""],
  [
    "reset-lets-requests-finish",
    "finishes requests of before a reset into RAM",
    "    this.#stopAll();\n    this.#enabled.fill(false);",
    "    this.#running = false;\n    this.#enabled.fill(false);",
  ],
  [
    "reset-keeps-status",
    "does not show 0 in Status after a reset",
    "    this.#status = 0;\n    this.#setInterruptStatus(0);",
    "    this.#status &= VIRTIO_CONFIG_S_ACKNOWLEDGE;\n    this.#setInterruptStatus(0);",
  ],
  [
    "reset-keeps-interrupt-status",
    "keeps InterruptStatus over a reset",
    "    this.#status = 0;\n    this.#setInterruptStatus(0);",
    "    this.#status = 0;",
  ],
  [
    "reset-keeps-broken",
    "stays broken after a reset",
    "    this.#broken = false;\n    this.#notifyMask",
    "    this.#notifyMask",
  ],
  [
    "status-takes-any-bit-back",
    "lets a write to Status take DEVICE_NEEDS_RESET away",
    "const wanted = value & DRIVER_STATUS_BITS & ~this.#status;",
    "this.#status &= value;\n    const wanted = value & DRIVER_STATUS_BITS & ~this.#status;",
  ],
  [
    "legacy-offers-modern-features",
    "offers features from 32 on to legacy drivers",
    "(features & 0xffff_ffffn) | featureSet(VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_ANY_LAYOUT)",
    "features",
  ],
]);

const modern = mutantsOf("virtio-mmio/modern-bank.ts", [
  ["version-3", "is of version 3", "const VERSION = 2;", "const VERSION = 3;"],
  [
    "shared-memory-there",
    "shows a shared memory region that there is not",
    "        return 0xffff_ffff;",
    "        return 0;",
  ],
  [
    "unoffered-features-accepted",
    "keeps FEATURES_OK though a feature was accepted that was not offered",
    "(features & ~this.#transport.offeredFeatures) !== 0n || ",
    "",
  ],
  [
    "features-writable-after-features-ok",
    "takes features after FEATURES_OK",
    "const settable = VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;",
    "const settable = VIRTIO_CONFIG_S_DRIVER;",
  ],
  [
    "driver-features-word-lost",
    "forgets one word of the driver's features when the other is written",
    "(this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift)",
    "BigInt(value) << shift",
  ],
  [
    "queue-select-ignored",
    "writes the registers of queue 0 whatever queue is selected",
    "const queue = this.#queues[queueSel];\n    if (queue === undefined) this.#transport.misuse",
    "const queue = this.#queues[0];\n    if (queue === undefined) this.#transport.misuse",
  ],
  [
    "queue-ready-not-cleared",
    "does not stop a queue when 0 is written to QueueReady",
    "    } else if (value === 0) {\n      transport.disableQueue(queueSel);",
    "    } else if (value === 0) {",
  ],
  [
    "queue-reset-ignored",
    "does nothing when QueueReset is written",
    "else transport.disableQueue(queueSel);",
    "else transport.isEnabled(queueSel);",
  ],
  [
    "queue-reset-always-pending",
    "shows QueueReset 1 for ever",
    'return this.#mayResetQueues ? 0 : transport.misuse("RegisterUnknown", offset);',
    "return 1;",
  ],
  [
    "queue-size-power-of-two-packed",
    "takes powers of two alone for the size of a packed ring",
    "return (value & (value - 1)) === 0 || (this.#featuresOk && hasFeature(this.#features, VIRTIO_F_RING_PACKED));",
    "return (value & (value - 1)) === 0;",
  ],
  [
    "features-ok-never-sticks",
    "refuses every set of features",
    "this.#transport.setStatus(VIRTIO_CONFIG_S_FEATURES_OK);",
    "",
  ],
  [
    "driver-ok-does-not-read-back",
    "does not show DRIVER_OK",
    "    this.#transport.setStatus(VIRTIO_CONFIG_S_DRIVER_OK);\n",
    "",
  ],
  [
    "selectors-survive-a-reset",
    "keeps the accepted features over a reset",
    "    this.#driverFeatures = 0n;\n    this.#selectors.deviceFeaturesSel = 0;",
    "    this.#selectors.deviceFeaturesSel = 0;",
  ],
]);

const shared = mutantsOf("virtio-mmio/register-bank.ts", [
  ["magic-wrong", "has another magic value", "0x7472_6976", "0x7672_6974"],
  ["device-id-wrong", "is a network device", "return transport.deviceId;", "return 1;"],
  [
    "features-word-ignored",
    "shows word 0 of its features whatever word is selected",
    "featureWord(transport.offeredFeatures, selectors.deviceFeaturesSel)",
    "featureWord(transport.offeredFeatures, 0)",
  ],
  [
    "features-word-masked",
    "shows words 0 and 1 again for 2 and 3",
    "featureWord(transport.offeredFeatures, selectors.deviceFeaturesSel)",
    "featureWord(transport.offeredFeatures, selectors.deviceFeaturesSel & 1)",
  ],
  [
    "queue-max-of-absent-queue",
    "has a greatest size for queues that there are not",
    "transport.queueSizesMax[selectors.queueSel] ?? 0",
    "transport.queueSizesMax[selectors.queueSel] ?? 256",
  ],
]);

const queueRegisters = mutantsOf("virtio-mmio/modern-queue.ts", [
  [
    "driver-area-is-descriptor-area",
    "takes the driver area to lie right behind the descriptors",
    "driverArea: this.#driverHigh * TWO_TO_32 + this.#driverLow,",
    "driverArea: this.#descriptorHigh * TWO_TO_32 + this.#descriptorLow + 16 * this.#size,",
  ],
  [
    "device-area-high-and-low-swapped",
    "swaps the halves of the device area's address",
    "deviceArea: this.#deviceHigh * TWO_TO_32 + this.#deviceLow,",
    "deviceArea: this.#deviceLow * TWO_TO_32 + this.#deviceHigh,",
  ],
]);

const legacy = mutantsOf("virtio-mmio/legacy-bank.ts", [
  [
    "legacy-pfn-not-readable",
    "does not show QueuePFN",
    "return this.#queues[this.#selectors.queueSel]?.pageNumber ?? 0;",
    "return 0;",
  ],
  [
    "legacy-page-size-ignored",
    "takes every page for one of 4096 bytes",
    "queue.areasAt(pageNumber, this.#guestPageBytes)",
    "queue.areasAt(pageNumber, 4096)",
  ],
  [
    "legacy-align-ignored",
    "aligns the used ring to 4096 whatever the driver asks",
    "if (isPowerOfTwo(value)) queue.alignBytes = value;",
    "if (isPowerOfTwo(value)) queue.alignBytes = 4096;",
  ],
]);

const legacyQueue = mutantsOf("virtio-mmio/legacy-queue.ts", [
  [
    "legacy-used-ring-unaligned",
    "has the used ring right behind the available ring",
    "Math.ceil(driverEnd / alignBytes) * alignBytes",
    "Math.ceil(driverEnd / 4) * 4",
  ],
]);

const features = mutantsOf("virtio-features.ts", [
  [
    "version-1-not-offered",
    "does not offer VERSION_1",
    "const bits = [VIRTIO_F_VERSION_1];",
    "const bits: number[] = [];",
  ],
  [
    "unspecified-feature-offered",
    "offers a bit that no standard has given a meaning",
    "const bits = [VIRTIO_F_VERSION_1];",
    "const bits = [VIRTIO_F_VERSION_1, 50];",
  ],
]);

export const registerMutants: readonly Mutant[] = [
  ...transport,
  ...modern,
  ...shared,
  ...queueRegisters,
  ...legacy,
  ...legacyQueue,
  ...features,
];
