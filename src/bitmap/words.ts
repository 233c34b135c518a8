// Bits within 32-bit words: the lowest set bit, counting, and the little-endian bytes of an array of words.
//
// Words are held in Int32Array: a word is then a small integer in every tier of the engine and "all ones" is -1.

export const WORD_BITS = 32;

const LITTLE_ENDIAN_HOST = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Index of the lowest set bit of `word`, which is not 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Number of set bits of `word`. */
export function popcount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Number of set bits of `words[from]` to `words[to - 1]`. */
export function countBits(words: Int32Array, from: number, to: number): number {
  // Adders over columns of bits (Harley and Seal): bit n of `ones`, `twos` and `fours` is a digit of the number of words
  // that had bit n set; eight words take one `popcount`, which halves the operations.
  let ones = 0;
  let twos = 0;
  let fours = 0;
  let eights = 0;
  let i = from;
  for (; i + 8 <= to; i += 8) {
    const a = words[i]!;
    const b = words[i + 1]!;
    const c = words[i + 2]!;
    const d = words[i + 3]!;
    const e = words[i + 4]!;
    const f = words[i + 5]!;
    const g = words[i + 6]!;
    const h = words[i + 7]!;
    const twosA = carry(ones, a, b);
    ones ^= a ^ b;
    const twosB = carry(ones, c, d);
    ones ^= c ^ d;
    const foursA = carry(twos, twosA, twosB);
    twos ^= twosA ^ twosB;
    const twosC = carry(ones, e, f);
    ones ^= e ^ f;
    const twosD = carry(ones, g, h);
    ones ^= g ^ h;
    const foursB = carry(twos, twosC, twosD);
    twos ^= twosC ^ twosD;
    eights += popcount(carry(fours, foursA, foursB));
    fours ^= foursA ^ foursB;
  }
  let count = 8 * eights + 4 * popcount(fours) + 2 * popcount(twos) + popcount(ones);
  for (; i < to; i++) count += popcount(words[i]!);
  return count;
}

/** What a full adder carries over, for each bit. */
function carry(a: number, b: number, c: number): number {
  return (a & b) | ((a ^ b) & c);
}

/** The bits of two words, counted in each of the four bytes: 16 at most. */
export function bytesOfPair(a: number, b: number): number {
  let v = a - ((a >>> 1) & 0x55555555);
  let w = b - ((b >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  w = (w & 0x33333333) + ((w >>> 2) & 0x33333333);
  v += w;
  return (v & 0x0f0f0f0f) + ((v >>> 4) & 0x0f0f0f0f);
}

/** Sum of the four bytes of `v`. */
export function sumOfBytes(v: number): number {
  const pairs = (v & 0x00ff00ff) + ((v >>> 8) & 0x00ff00ff);
  return (pairs + (pairs >>> 16)) & 0xffff;
}

/** Sets bits `first` to `last` of `words`. */
export function setBits(words: Int32Array, first: number, last: number): void {
  const i = first >>> 5;
  const j = last >>> 5;
  const head = -1 << (first & 31);
  const tail = -1 >>> (31 - (last & 31));
  if (i === j) {
    words[i]! |= head & tail;
    return;
  }
  words[i]! |= head;
  fillWords(words, -1, i + 1, j);
  words[j]! |= tail;
}

/** Clears bits `first` to `last` of `words`. */
export function resetBits(words: Int32Array, first: number, last: number): void {
  const i = first >>> 5;
  const j = last >>> 5;
  const head = -1 << (first & 31);
  const tail = -1 >>> (31 - (last & 31));
  if (i === j) {
    words[i]! &= ~(head & tail);
    return;
  }
  words[i]! &= ~head;
  fillWords(words, 0, i + 1, j);
  words[j]! &= ~tail;
}

/** Stores `word` in `words[from]` to `words[to - 1]`. */
export function fillWords(words: Int32Array, word: number, from: number, to: number): void {
  // `fill` takes 14 ns however short the range is, a loop 0.7 ns a word.
  if (to - from > 20) words.fill(word, from, to);
  else for (let i = from; i < to; i++) words[i] = word;
}

/** Writes `words[from]` to `words[to - 1]` to `out` from `at` on, each as four bytes, lowest first. */
export function storeWords(words: Int32Array, from: number, to: number, out: Uint8Array, at: number): void {
  if (LITTLE_ENDIAN_HOST) {
    out.set(new Uint8Array(words.buffer, words.byteOffset + from * 4, (to - from) * 4), at);
    return;
  }
  const view = new DataView(out.buffer, out.byteOffset + at, (to - from) * 4);
  for (let i = from; i < to; i++) view.setInt32((i - from) * 4, words[i]!, true);
}

/** Reads `words[from]` to `words[to - 1]` from `bytes` from `at` on, each as four bytes, lowest first. */
export function loadWords(words: Int32Array, from: number, to: number, bytes: Uint8Array, at: number): void {
  const length = (to - from) * 4;
  if (LITTLE_ENDIAN_HOST) {
    new Uint8Array(words.buffer, words.byteOffset + from * 4, length).set(bytes.subarray(at, at + length));
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length);
  for (let i = from; i < to; i++) words[i] = view.getInt32((i - from) * 4, true);
}
