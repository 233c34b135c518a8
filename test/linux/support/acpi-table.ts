// An ACPI table that tells a guest of one virtio-mmio device: ACPI 6.5 §5.2.6 (header), §6.4 (resources), §20 (AML).

const HEADER_BYTES = 36;

/** What the guest is to know. */
export interface DeclaredDevice {
  readonly address: number;
  readonly lengthBytes: number;
  /** Level-triggered, active high, shared. */
  readonly irq: number;
}

/** A secondary description table with `\_SB.VR00`, whose _HID is that of virtio-mmio devices, `LNRO0005`. */
export function virtioMmioTable(device: DeclaredDevice): Uint8Array {
  const resources = [...memory32Fixed(device), ...extendedInterrupt(device.irq), 0x79, 0x00]; // and the end tag
  const buffer = [0x11, ...withLength([0x0a, resources.length, ...resources])];
  const hid = [0x08, ...ascii("_HID"), 0x0d, ...ascii("LNRO0005"), 0];
  const uid = [0x08, ...ascii("_UID"), 0x00];
  const crs = [0x08, ...ascii("_CRS"), ...buffer];
  const deviceTerm = [0x5b, 0x82, ...withLength([...ascii("VR00"), ...hid, ...uid, ...crs])];
  const scope = [0x10, ...withLength([0x5c, ...ascii("_SB_"), ...deviceTerm])];
  return table(scope);
}

function table(aml: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + aml.length);
  const view = new DataView(bytes.buffer);
  bytes.set(ascii("SSDT"), 0);
  view.setUint32(4, bytes.length, true);
  bytes[8] = 2; // revision
  bytes.set(ascii("VBLK  "), 10);
  bytes.set(ascii("VIRTMMIO"), 16);
  view.setUint32(24, 1, true);
  bytes.set(ascii("VBLK"), 28);
  view.setUint32(32, 1, true);
  bytes.set(aml, HEADER_BYTES);
  bytes[9] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff; // all bytes add up to 0
  return bytes;
}

function memory32Fixed({ address, lengthBytes }: DeclaredDevice): readonly number[] {
  return [0x86, 9, 0, 1, ...le32(address), ...le32(lengthBytes)];
}

function extendedInterrupt(irq: number): readonly number[] {
  const consumer = 1;
  const shared = 8; // level-triggered and active high are zeroes
  return [0x89, 6, 0, consumer | shared, 1, ...le32(irq)];
}

/** §20.2.4: the length of a term, its own bytes counted. */
function withLength(term: readonly number[]): readonly number[] {
  const short = term.length + 1;
  if (short < 64) return [short, ...term];
  const long = term.length + 2;
  return [0x40 | (long & 0xf), long >> 4, ...term];
}

function ascii(text: string): readonly number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

function le32(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
