// The suite: every chapter's cases, in the order of the standard.

import type { ConformanceCase } from "./case.ts";
import { configurationCases } from "./chapters/configuration.ts";
import { featureCases } from "./chapters/features.ts";
import { legacyRegisterCases } from "./chapters/legacy-registers.ts";
import { notificationCases } from "./chapters/notifications.ts";
import { packedNotificationCases } from "./chapters/packed-notifications.ts";
import { packedRingCases } from "./chapters/packed-ring.ts";
import { queueResetCases } from "./chapters/queue-reset.ts";
import { queueResetRegisterCases } from "./chapters/queue-reset-registers.ts";
import { registerCases } from "./chapters/registers.ts";
import { reservedFeatureCases } from "./chapters/reserved-features.ts";
import { splitNotificationCases } from "./chapters/split-notifications.ts";
import { splitRingCases } from "./chapters/split-ring.ts";
import { statusCases } from "./chapters/status.ts";

/** A group of cases, as reports show them. */
export interface Chapter {
  readonly title: string;
  readonly cases: readonly ConformanceCase[];
}

/** Every chapter. */
export const chapters: readonly Chapter[] = [
  { title: "2.1 Device status field", cases: statusCases },
  { title: "2.2 Feature bits", cases: featureCases },
  { title: "2.5 Configuration space, 3.1 Initialisation", cases: configurationCases },
  { title: "2.6 Virtqueues", cases: queueResetCases },
  { title: "2.7 Split virtqueues", cases: splitRingCases },
  { title: "2.7.7 Used buffer notifications of split virtqueues", cases: splitNotificationCases },
  { title: "2.8 Packed virtqueues", cases: packedRingCases },
  { title: "2.8.10 Notifications of packed virtqueues", cases: packedNotificationCases },
  { title: "2.9 Notifications", cases: notificationCases },
  { title: "4.2.2 MMIO registers", cases: registerCases },
  { title: "4.2.2.1 QueueReset", cases: queueResetRegisterCases },
  { title: "4.2.4 Legacy MMIO registers", cases: legacyRegisterCases },
  { title: "6 Reserved feature bits", cases: reservedFeatureCases },
];

/** Every case. */
export const conformanceCases: readonly ConformanceCase[] = chapters.flatMap(({ cases }) => cases);
