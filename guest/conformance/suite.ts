// The suite: every chapter's cases, in the order of the standard.

import type { ConformanceCase } from "./case.ts";
import { blockConfigurationCases } from "./chapters/block-configuration.ts";
import { blockRequestCases } from "./chapters/block-requests.ts";
import { cacheCases } from "./chapters/cache.ts";
import { configurationCases } from "./chapters/configuration.ts";
import { discardCases } from "./chapters/discard.ts";
import { diskErrorCases } from "./chapters/disk-errors.ts";
import { featureCases } from "./chapters/features.ts";
import { legacyBlockCases } from "./chapters/legacy-block.ts";
import { legacyRegisterCases } from "./chapters/legacy-registers.ts";
import { lifetimeCases } from "./chapters/lifetime.ts";
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
import { suspendCases } from "./chapters/suspend.ts";
import { zoneDataCases } from "./chapters/zone-data.ts";
import { zoneReportCases } from "./chapters/zone-reports.ts";
import { zoneRequestCases } from "./chapters/zone-requests.ts";
import { zoneResourceCases } from "./chapters/zone-resources.ts";
import { zoneStateCases } from "./chapters/zone-states.ts";
import { zonedConfigurationCases } from "./chapters/zoned-configuration.ts";

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
  { title: "3.4 Suspending the device", cases: suspendCases },
  { title: "4.2.2 MMIO registers", cases: registerCases },
  { title: "4.2.2.1 QueueReset", cases: queueResetRegisterCases },
  { title: "4.2.4 Legacy MMIO registers", cases: legacyRegisterCases },
  { title: "5.2.4 Configuration of the block device", cases: blockConfigurationCases },
  { title: "5.2.5 The write cache", cases: cacheCases },
  { title: "5.2.5.2 Configuration of zoned disks", cases: zonedConfigurationCases },
  { title: "5.2.6 Requests of the block device", cases: blockRequestCases },
  { title: "5.2.6 Errors of the disk", cases: diskErrorCases },
  { title: "5.2.6 Discard, write zeroes and secure erase", cases: discardCases },
  { title: "5.2.6 The wear of the storage", cases: lifetimeCases },
  { title: "5.2.6 Requests to zones", cases: zoneRequestCases },
  { title: "5.2.6 Limits of open and active zones", cases: zoneResourceCases },
  { title: "5.2.6 The states of zones", cases: zoneStateCases },
  { title: "5.2.6 Zone reports", cases: zoneReportCases },
  { title: "5.2.6 What zones hold", cases: zoneDataCases },
  { title: "5.2.6.3 The block device through the legacy interface", cases: legacyBlockCases },
  { title: "6 Reserved feature bits", cases: reservedFeatureCases },
];

/** Every case. */
export const conformanceCases: readonly ConformanceCase[] = chapters.flatMap(({ cases }) => cases);
