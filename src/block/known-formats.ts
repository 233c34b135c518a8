// What images of known formats begin with: a raw image that nobody said to be raw must not come to look like one of them.

import { viewOf } from "./drivers/qcow2/format.ts";

/** As much as tells a format. */
export const KNOWN_FORMAT_BYTES = 512;

const TEXT = new TextDecoder("latin1");
const VDI_SIGNATURE = 0x7f10dabe;
const CLOOP = "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n";
/** Comments and empty lines before a version are all that a descriptor of VMDK images needs. */
const VMDK_DESCRIPTOR = /^(#[^\n]*\n|[ \r]*\n)*version=[123]\r?\n/;

/**
 * The format, by QEMU's name, whose images begin with the first 512 bytes of a file, those that are not there as zeroes; undefined
 * for none. Each was found by what a real QEMU 7.2 refuses to write to the beginning of such an image.
 */
export function knownFormat(head: Uint8Array): string | undefined {
  const view = viewOf(head);
  const text = TEXT.decode(head);
  const magic = view.getUint32(0);
  if (magic === 0x514649fb) {
    const version = view.getUint32(4);
    return version === 0 ? undefined : version === 1 ? "qcow" : "qcow2";
  }
  if (text.startsWith("QED\0")) return "qed";
  if (text.startsWith("KDMV") || text.startsWith("COWD") || VMDK_DESCRIPTOR.test(text)) return "vmdk";
  if (text.startsWith("conectix")) return "vpc";
  if (text.startsWith("vhdxfile")) return "vhdx";
  if (view.getUint32(64) === VDI_SIGNATURE) return "vdi";
  if (text.startsWith("LUKS\xba\xbe") && view.getUint16(6) === 1) return "luks";
  if (/^(WithoutFreeSpace|WithouFreSpacExt)/.test(text) && view.getUint32(16, true) === 2) return "parallels";
  if (isBochs(text, view.getUint32(64, true))) return "bochs";
  return text.startsWith(CLOOP) ? "cloop" : undefined;
}

function isBochs(text: string, version: number): boolean {
  const field = (at: number, value: string): boolean => text.slice(at, at + value.length + 1) === `${value}\0`;
  if (!field(0, "Bochs Virtual HD Image") || !field(32, "Redolog") || !field(48, "Growing")) return false;
  return version === 0x10000 || version === 0x20000;
}
