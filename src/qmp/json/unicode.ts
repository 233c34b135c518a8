// UTF-8 as QMP reads it: U+0000 may be written as C0 80, and what is no character is refused or becomes U+FFFD.

const REPLACEMENT = 0xfffd;
/** Code units that one call of fromCharCode takes. */
const BATCH = 4096;

// Scratch space: nothing here calls back, so one of each is enough.
const units = new Uint16Array(BATCH + 1);
/** The character that `decodeAt` found: its code point, or -1 if it is none, and the bytes that it takes. */
const decoded = { codePoint: 0, length: 0 };

/** True for surrogates, for the 66 code points that Unicode sets aside, and for what is beyond its range. */
export function isNoncharacter(codePoint: number): boolean {
  return (
    codePoint > 0x10ffff ||
    (codePoint & 0xfffe) === 0xfffe ||
    (codePoint >= 0xfdd0 && codePoint <= 0xfdef) ||
    (codePoint >= 0xd800 && codePoint <= 0xdfff)
  );
}

/** The text of `bytes`, or `undefined` if a sequence is not valid. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  return decode(bytes, false);
}

/** The text of `bytes` with U+FFFD in place of each sequence that is not valid. */
export function decodeUtf8Lossy(bytes: Uint8Array): string {
  return decode(bytes, true) ?? "";
}

function decode(bytes: Uint8Array, lossy: boolean): string | undefined {
  let text = "";
  let count = 0;
  for (let at = 0; at < bytes.length; at += decoded.length) {
    decodeAt(bytes, at);
    let codePoint = decoded.codePoint;
    if (codePoint < 0) {
      if (!lossy) return undefined;
      codePoint = REPLACEMENT;
    }
    if (codePoint >= 0x10000) {
      units[count++] = 0xd800 + ((codePoint - 0x10000) >> 10);
      units[count++] = 0xdc00 + (codePoint & 0x3ff);
    } else {
      units[count++] = codePoint;
    }
    if (count >= BATCH) {
      text += String.fromCharCode(...units.subarray(0, count));
      count = 0;
    }
  }
  return text + String.fromCharCode(...units.subarray(0, count));
}

function decodeAt(bytes: Uint8Array, at: number): void {
  const lead = bytes[at]!;
  decoded.length = 1;
  decoded.codePoint = lead < 0x80 ? lead : -1;
  if (lead < 0xc0 || lead > 0xfd) return;
  // The lead byte tells the length with its ones: 110x xxxx is the first of two.
  const length = Math.clz32(~(lead << 24));
  let codePoint = lead & (0x7f >> length);
  while (decoded.length < length) {
    const byte = bytes[at + decoded.length] ?? 0;
    if ((byte & 0xc0) !== 0x80) return;
    codePoint = codePoint * 64 + (byte & 0x3f);
    decoded.length++;
  }
  if (isNoncharacter(codePoint)) return;
  const shortest = codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
  if (length === shortest || (codePoint === 0 && length === 2)) decoded.codePoint = codePoint;
}
