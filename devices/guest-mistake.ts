// What a guest can do wrong, as a closed set of names. A mistake never throws: it is answered and traced.

import { tracePoint } from "../src/base/trace.ts";

/** Mistakes after which the ring cannot be trusted: the device sets DEVICE_NEEDS_RESET (docs/reference/virtio-errors.md, A). */
export type RingMistake =
  | "AvailableIndexJump"
  | "HeadOutOfRange"
  | "NextOutOfRange"
  | "DescriptorLoop"
  | "DescriptorNotAvailable"
  | "IndirectNotNegotiated"
  | "IndirectWithNext"
  | "IndirectNested"
  | "IndirectLength"
  | "IndirectOutsideRam"
  | "TooManyInFlight"
  | "NoStatusByte"
  | "StatusOutsideRam";

/** Mistakes in one request on an intact ring: it is answered with an error status (B and C). */
export type RequestMistake =
  | "WritableBeforeReadable"
  | "ChainTooLong"
  | "HeaderTooShort"
  | "HeaderOutsideRam"
  | "DataOutsideRam"
  | "DataInWrongDirection"
  | "DataNotWholeSectors"
  | "DataTooLong"
  | "BeyondCapacity"
  | "WriteToReadOnly"
  | "UnsupportedType"
  | "BufferTooShort"
  | "SegmentsMalformed"
  | "TooManySegments"
  | "SegmentFlags"
  | "SegmentTooLong"
  | "SegmentUnaligned"
  | "ZoneRequest";

/** Misuse of registers: the write is ignored, the read gives 0 (D). */
export type RegisterMistake =
  | "RegisterWidth"
  | "RegisterUnknown"
  | "RegisterReadOnly"
  | "RegisterWriteOnly"
  | "ConfigWrite"
  | "FeaturesAfterFeaturesOk"
  | "FeaturesRefused"
  | "DriverOkWithoutFeaturesOk"
  | "StatusBitsCleared"
  | "StatusBitsUnknown"
  | "QueueDoesNotExist"
  | "QueueSizeInvalid"
  | "QueueReadyTwice"
  | "QueueChangedWhileReady"
  | "QueueAddressInvalid"
  | "QueueResetInvalid"
  | "QueueAlignInvalid"
  | "GuestPageSizeInvalid"
  | "NotifyIgnored";

export type GuestMistake = RingMistake | RequestMistake | RegisterMistake;

const guestError = tracePoint("virtio_guest_error");

/** Reports a mistake to whoever traces `virtio_guest_error`. `detail` is the offending value, as a number of the standard. */
export function traceGuestError(mistake: GuestMistake, detail: number): void {
  if (guestError.enabled) guestError.emit({ mistake, detail: `0x${detail.toString(16)}` });
}
