// The device that a case examines: initialisation step by step, rings, requests, and the ways to say what was wrong.

import { GuestAllocator } from "../allocator.ts";
import {
  type FeatureSet,
  featureSet,
  hasFeature,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../constants/features.ts";
import {
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
} from "../constants/status.ts";
import { VirtioMmioRegisters } from "../registers.ts";
import type { GuestTarget } from "../target.ts";
import { BigEndianRam } from "./big-endian-ram.ts";
import {
  type CompletedRequest,
  type PlacedRequest,
  placeRequest,
  type RequestFields,
  takeRequest,
} from "./block-requests.ts";
import type { ConformanceCase } from "./case.ts";
import { type Conversation, RecordedTarget } from "./conversation.ts";
import { type GateDemand, gateDemand } from "./feature-gate.ts";
import { featureName } from "./feature-names.ts";
import type { Requirement } from "./requirement.ts";
import type { Ring, UsedBuffer } from "./ring.ts";
import type { RingServices } from "./ring-services.ts";
import { type RingChoice, setUpRing } from "./ring-set-up.ts";
import type { Subject, SubjectHost } from "./subject.ts";
import type { Variant } from "./variant.ts";
import { CaseSkippedError, ViolationError } from "./verdict.ts";

/** How long a device may take for what it has to do. */
const PATIENCE_MS = 5_000;
const DEFAULT_RING_SIZE = 8;

/** How far `initialise` goes, and with what. */
export interface InitialiseOptions {
  /** Accepted where offered, beside what the case's requirement demands. */
  readonly features?: readonly number[];
  /** Not accepted, though offered and demanded. */
  readonly without?: readonly number[];
  /** Queue 0's. */
  readonly ring?: RingChoice;
  /** Leave DRIVER_OK to the case. */
  readonly driverOk?: boolean;
}

/** One device, and everything that a case does to it. All accesses are noted for the report. */
export class DeviceUnderTest implements RingServices {
  readonly variant: Variant;
  readonly requirement: Requirement;
  readonly host: SubjectHost;
  readonly target: GuestTarget;
  readonly registers: VirtioMmioRegisters;
  readonly allocator: GuestAllocator;
  readonly conversation: Conversation;
  /** What a passing case wants to tell. */
  readonly remarks: string[] = [];
  /** Buffers that were used before somebody asked for them, by ring and id. */
  readonly #early = new Map<Ring, Map<number, UsedBuffer>>();

  constructor(
    subject: Subject,
    variant: Variant,
    { requirement, subject: wish }: Pick<ConformanceCase, "requirement" | "subject">,
    conversation: Conversation,
  ) {
    this.variant = variant;
    this.requirement = requirement;
    this.host = subject.host;
    this.conversation = conversation;
    const ram = wish.bigEndian ? new BigEndianRam(subject.target) : subject.target;
    this.target = new RecordedTarget(ram, conversation);
    this.registers = new VirtioMmioRegisters(this.target);
    // The first page is left out: some devices take address 0 for "none".
    this.allocator = new GuestAllocator(this.target.ramBase + 4096, this.target.ramSizeBytes - 4096);
  }

  get legacy(): boolean {
    return this.variant.legacy;
  }

  // Verdicts

  /** Ends the case as failed unless `condition` holds. */
  check(condition: boolean, otherwise: string): void {
    if (!condition) throw new ViolationError(otherwise);
  }

  /** Ends the case as failed unless both are the same. */
  equal(actual: number | bigint, expected: number | bigint, what: string): void {
    this.check(actual === expected, `${what} is ${show(actual)}, not ${show(expected)}`);
  }

  /** Ends the case as not looked at. */
  skip(reason: string): never {
    throw new CaseSkippedError(reason);
  }

  /** Ends the case as not looked at unless `condition` holds. */
  skipUnless(condition: boolean, reason: string): void {
    if (!condition) this.skip(reason);
  }

  /** Tells something of a device that passes. */
  remark(text: string): void {
    this.remarks.push(text);
  }

  // Initialisation, VIRTIO 1.4 §3.1.1

  /** Every feature offered, of the first 64 (32 on a legacy device). */
  readOffered(): FeatureSet {
    const high = this.legacy ? 0 : this.#readOfferedWord(1);
    return (BigInt(high) << 32n) | BigInt(this.#readOfferedWord(0));
  }

  /** Writes 0 to Status and waits until it reads 0. */
  async reset(): Promise<void> {
    this.registers.status = 0;
    await this.until(() => this.registers.status === 0, "Status reads 0 after a reset");
  }

  /**
   * What this case's requirement asks of negotiation, with the features of the variant. Ends the case as not looked at when
   * the device lacks one of them.
   */
  demand(): GateDemand {
    const demand = gateDemand(this.requirement.gate, this.variant, this.readOffered());
    this.skipUnless(demand.missing.length === 0, `${demand.missing.map(featureName).join(" or ")} is not offered`);
    return demand;
  }

  /** Resets, and sets ACKNOWLEDGE and DRIVER. */
  async begin(): Promise<void> {
    await this.reset();
    this.registers.status = VIRTIO_STATUS_ACKNOWLEDGE;
    this.registers.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
  }

  /** The features to accept: the variant's, the requirement's, and those of `options` that are offered. */
  chooseFeatures(options: Pick<InitialiseOptions, "features" | "without"> = {}): FeatureSet {
    const { wanted, unwanted } = this.demand();
    const offered = this.readOffered();
    const base = [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED].filter(
      (feature) => this.variant.settled.get(feature) === true,
    );
    for (const feature of base) {
      this.skipUnless(hasFeature(offered, feature), `${featureName(feature)} is not offered`);
    }
    const extra = (options.features ?? []).filter(
      (feature) => hasFeature(offered, feature) && !unwanted.includes(feature),
    );
    const without = featureSet(...(options.without ?? []));
    return featureSet(...new Set([...base, ...wanted, ...extra])) & ~without;
  }

  /** Writes the driver's features, both words; the low one alone on a legacy device. */
  acceptFeatures(features: FeatureSet): void {
    if (!this.legacy) {
      this.registers.driverFeaturesSel = 1;
      this.registers.driverFeatures = Number((features >> 32n) & 0xffff_ffffn);
    }
    this.registers.driverFeaturesSel = 0;
    this.registers.driverFeatures = Number(features & 0xffff_ffffn);
  }

  /** Writes FEATURES_OK and tells whether the device kept it. A legacy device has no such step: true. */
  settleFeatures(): boolean {
    if (this.legacy) return true;
    this.registers.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
    return (this.registers.status & VIRTIO_STATUS_FEATURES_OK) !== 0;
  }

  /** Sets DRIVER_OK, with what was set before. */
  go(): void {
    const features = this.legacy ? 0 : VIRTIO_STATUS_FEATURES_OK;
    this.registers.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | features | VIRTIO_STATUS_DRIVER_OK;
  }

  /** Takes the device from reset to DRIVER_OK, with queue 0 in the layout of the variant. */
  async initialise(options: InitialiseOptions = {}): Promise<Ring> {
    await this.begin();
    const features = this.chooseFeatures(options);
    this.acceptFeatures(features);
    this.check(this.settleFeatures(), "FEATURES_OK does not stick with a subset of what is offered");
    const ring = this.setUpRing({ index: 0, size: DEFAULT_RING_SIZE, ...options.ring }, features);
    if (options.driverOk !== false) this.go();
    return ring;
  }

  /** Places a zeroed ring in RAM and enables the queue with it. */
  setUpRing(choice: RingChoice, features: FeatureSet): Ring {
    return setUpRing(this, this.variant, choice, features);
  }

  // Requests

  /** Makes a request available, without a notification. */
  place(ring: Ring, fields: RequestFields): PlacedRequest {
    return placeRequest(this, ring, fields);
  }

  /** Waits until the device has used the next list of `ring`. */
  async nextUsed(ring: Ring): Promise<UsedBuffer> {
    let used: UsedBuffer | undefined;
    await this.until(() => {
      used = ring.takeUsed();
      return used !== undefined;
    }, "the device uses the request");
    return used!;
  }

  /** Waits until the device has used `placed`. It may use others before, which are kept for those who wait for them. */
  async finish(ring: Ring, placed: PlacedRequest): Promise<CompletedRequest> {
    const early = this.#early.get(ring) ?? new Map<number, UsedBuffer>();
    this.#early.set(ring, early);
    while (!early.has(placed.id)) {
      const used = await this.nextUsed(ring);
      early.set(used.id, used);
    }
    const { length } = early.get(placed.id)!;
    early.delete(placed.id);
    return takeRequest(this, placed, length);
  }

  /** Carries out one request with nothing else in flight. */
  async execute(ring: Ring, fields: RequestFields): Promise<CompletedRequest> {
    const placed = this.place(ring, fields);
    ring.notify();
    return this.finish(ring, placed);
  }

  /** What came of a request whose buffer was taken from the ring by the case itself. */
  collect(placed: PlacedRequest, length: number | undefined): CompletedRequest {
    return takeRequest(this, placed, length);
  }

  // Waiting

  /** Waits until `condition` holds; ends the case as failed when it does not in time. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const startedMs = this.target.clock.nowMs();
    for (let pauseMs = 0; !condition(); pauseMs = Math.min(10, pauseMs + 1)) {
      this.check(this.target.clock.nowMs() - startedMs < PATIENCE_MS, `not within ${PATIENCE_MS} ms: ${what}`);
      await this.#pause(pauseMs);
    }
  }

  /** Gives the device time for what it must not do; afterwards it would have done it. */
  async settle(): Promise<void> {
    if (this.host.settle !== undefined) await this.host.settle();
    else await this.#pause(30);
  }

  async #pause(pauseMs: number): Promise<void> {
    const { clock } = this.target;
    if (pauseMs === 0) return clock.yield();
    await new Promise<void>((resolve) => clock.setTimer(pauseMs, resolve));
  }

  #readOfferedWord(word: number): number {
    this.registers.deviceFeaturesSel = word;
    return this.registers.deviceFeatures;
  }
}

function show(value: number | bigint): string {
  return value < 10 ? String(value) : `0x${value.toString(16)}`;
}
