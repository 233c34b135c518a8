// UTF-8 as QMP reads it: U+0000 may be written as C0 80, and what is no character is refused or becomes U+FFFD.

const REPLACEMENT = 0xfffd;
/** Code units that one call of fromCharCode takes. */
const BATCH = 4096;

/** What `decodeCharacter` found: the code point, or -1 if it is none, and the bytes that it takes. One for all: nothing here waits. */
export const decoded: { codePoint: number; length: number } = { codePoint: 0, length: 0 };

/** Text put together from code points. */
export class TextBuilder {
  readonly #units = new Uint16Array(BATCH + 1);
  #parts: string[] = [];
  #count = 0;

  append(codePoint: number): void {
    if (codePoint >= 0x10000) {
      this.#units[this.#count++] = 0xd800 + ((codePoint - 0x10000) >> 10);
      this.#units[this.#count++] = 0xdc00 + (codePoint & 0x3ff);
    } else {
      this.#units[this.#count++] = codePoint;
    }
    if (this.#count >= BATCH) this.#flush();
  }

  /** The text so far; the next one begins. */
  take(): string {
    this.#flush();
    const text = this.#parts.join("");
    this.#parts = [];
    return text;
  }

  #flush(): void {
    this.#parts.push(String.fromCharCode.apply(null, this.#units.subarray(0, this.#count) as unknown as number[]));
    this.#count = 0;
  }
}

const lossyText = new TextBuilder();

/** True for surrogates, for the 66 code points that Unicode sets aside, and for what is beyond its range. */
export function isNoncharacter(codePoint: number): boolean {
  return (
    codePoint > 0x10ffff ||
    (codePoint & 0xfffe) === 0xfffe ||
    (codePoint >= 0xfdd0 && codePoint <= 0xfdef) ||
    (codePoint >= 0xd800 && codePoint <= 0xdfff)
  );
}

/** The text of `bytes` with U+FFFD in place of each sequence that is not valid. */
export function decodeUtf8Lossy(bytes: Uint8Array): string {
  for (let at = 0; at < bytes.length; at += decoded.length) {
    decodeCharacter(bytes, at);
    lossyText.append(decoded.codePoint < 0 ? REPLACEMENT : decoded.codePoint);
  }
  return lossyText.take();
}

/** Decodes the character at `at` into `decoded`. What is no character ends where the next one may begin. */
export function decodeCharacter(bytes: Uint8Array, at: number): void {
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
