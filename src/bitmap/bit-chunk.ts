// Up to 2^20 bits in a hierarchy of three levels: the smallest unit of memory of a hierarchical bitmap.

import {
  bytesOfPair,
  countBits,
  fillWords,
  loadWords,
  lowestBit,
  popcount,
  resetBits,
  setBits,
  storeWords,
  sumOfBytes,
} from "./words.ts";

/** Bits of a complete chunk: with 64 KiB a bit that is 64 GiB of disk in 132 KiB of memory. */
export const CHUNK_BITS: number = 1 << 20;
/** The last word of a complete chunk. */
export const LAST_WORD: number = (CHUNK_BITS >>> 5) - 1;

/**
 * Bits 0 to `bits - 1`. `words` holds them, 32 a word, lowest first. Bit n of `summary` is clear only if word n of `words` is
 * 0, and bit n of `top` only if word n of `summary` is. A set one says "perhaps": clearing bits leaves it as it is, and the
 * next search that comes by and finds nothing clears it. So a reset writes one word; with the upper levels kept exact, a
 * reset at random took twice as long (15 ns instead of 7.6, 16 Mi bits).
 *
 * All positions are integers below 2^20, so everything here is 32-bit integer arithmetic.
 */
export class BitChunk {
  /** The bits, in whole 64-bit units; those from `bits` on are 0. */
  words: Int32Array;
  summary: Int32Array;
  top: Int32Array;
  /** Number of set bits. */
  count = 0;
  #bits: number;

  constructor(bits: number) {
    this.#bits = bits;
    this.words = new Int32Array(Math.ceil(bits / 64) * 2);
    this.summary = new Int32Array((this.words.length + 31) >>> 5);
    this.top = new Int32Array((this.summary.length + 31) >>> 5);
  }

  /** Another chunk of `bits` bits with the same bits; those that no longer fit must be 0. */
  copy(bits: number): BitChunk {
    const copy = new BitChunk(bits);
    copy.words.set(this.words.subarray(0, copy.words.length));
    copy.count = this.count;
    if (copy.words.length === this.words.length) {
      copy.summary.set(this.summary);
      copy.top.set(this.top);
    } else {
      copy.#summarize(0, copy.words.length);
    }
    return copy;
  }

  has(bit: number): boolean {
    return (this.words[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** Sets one bit; returns 1 if it was 0, else 0. */
  setBit(bit: number): number {
    const i = bit >>> 5;
    const old = this.words[i]!;
    const word = old | (1 << (bit & 31));
    if (word === old) return 0;
    this.words[i] = word;
    if (old === 0) this.#wordIsUsed(i);
    this.count++;
    return 1;
  }

  /** Clears one bit; returns 1 if it was 1, else 0. */
  resetBit(bit: number): number {
    const i = bit >>> 5;
    const old = this.words[i]!;
    const word = old & ~(1 << (bit & 31));
    if (word === old) return 0;
    this.words[i] = word;
    this.count--;
    return 1;
  }

  /** Sets bits `first` to `last`; returns how many of them were 0. */
  set(first: number, last: number): number {
    const i = first >>> 5;
    const j = last >>> 5;
    const head = -1 << (first & 31);
    const tail = -1 >>> (31 - (last & 31));
    const added =
      i === j
        ? this.#setInWord(i, head & tail)
        : this.#setInWord(i, head) + this.#setWords(i + 1, j) + this.#setInWord(j, tail);
    this.count += added;
    return added;
  }

  /** Clears bits `first` to `last`; returns how many of them were 1. */
  reset(first: number, last: number): number {
    const i = first >>> 5;
    const j = last >>> 5;
    const head = -1 << (first & 31);
    const tail = -1 >>> (31 - (last & 31));
    const removed =
      i === j
        ? this.#resetInWord(i, head & tail)
        : this.#resetInWord(i, head) + this.#resetWords(i + 1, j) + this.#resetInWord(j, tail);
    this.count -= removed;
    return removed;
  }

  /** The first set bit from `from` on, or -1. */
  nextSet(from: number): number {
    let i = from >>> 5;
    if (i >= this.words.length) return -1;
    let word = this.words[i]! & (-1 << (from & 31));
    if (word === 0) {
      i = this.#nextWord(i + 1);
      if (i < 0) return -1;
      word = this.words[i]!;
    }
    return (i << 5) + lowestBit(word);
  }

  /** The first word from `from` on that is not 0, or -1. */
  #nextWord(from: number): number {
    const { words, summary } = this;
    let s = from >>> 5;
    if (s >= summary.length) return -1;
    let used = summary[s]! & (-1 << (from & 31));
    for (;;) {
      for (; used !== 0; used &= used - 1) {
        const i = (s << 5) + lowestBit(used);
        if (words[i] !== 0) return i;
        summary[s]! &= ~(used & -used);
      }
      s = this.#nextGroup(s + 1);
      if (s < 0) return -1;
      used = summary[s]!;
    }
  }

  /** The first word of `summary` from `from` on that is not 0, or -1. */
  #nextGroup(from: number): number {
    const { summary, top } = this;
    let t = from >>> 5;
    if (t >= top.length) return -1;
    let groups = top[t]! & (-1 << (from & 31));
    for (;;) {
      for (; groups !== 0; groups &= groups - 1) {
        const s = (t << 5) + lowestBit(groups);
        if (summary[s] !== 0) return s;
        top[t]! &= ~(groups & -groups);
      }
      if (++t >= top.length) return -1;
      groups = top[t]!;
    }
  }

  /** The first clear bit from `from` on up to the end of word `lastWord`, or -1. May be past the last bit. */
  nextClear(from: number, lastWord: number): number {
    if (this.count === CHUNK_BITS) return -1;
    const { words } = this;
    let i = from >>> 5;
    let clear = ~words[i]! & (-1 << (from & 31));
    while (clear === 0) {
      if (++i > lastWord || i >= words.length) return -1;
      clear = ~words[i]!;
    }
    return (i << 5) + lowestBit(clear);
  }

  /** Sets what is set in `other`, which has as many bits; returns how many bits were 0. */
  merge(other: BitChunk): number {
    const { words, summary, top } = this;
    const source = other.words;
    let added = 0;
    for (let s = 0; s < summary.length; s++) {
      const used = other.summary[s]!;
      if (used === 0) continue;
      summary[s]! |= used;
      top[s >>> 5]! |= 1 << (s & 31);
      if (used === -1) {
        added += mergeWords(words, source, s << 5);
        continue;
      }
      for (let left = used; left !== 0; left &= left - 1) {
        const i = (s << 5) + lowestBit(left);
        const fresh = source[i]! & ~words[i]!;
        words[i]! |= fresh;
        added += popcount(fresh);
      }
    }
    this.count += added;
    return added;
  }

  /** Writes words `from` to `to - 1` to `out` from `at` on, little-endian. */
  store(from: number, to: number, out: Uint8Array, at: number): void {
    storeWords(this.words, from, to, out, at);
  }

  /**
   * Replaces words `from` to `to - 1` by what stands in `bytes` from `at` on, little-endian; what lies past the last bit
   * is dropped. Returns by how much `count` grew.
   */
  load(from: number, to: number, bytes: Uint8Array, at: number): number {
    const before = to - from === this.words.length ? this.count : this.#countWords(from, to);
    loadWords(this.words, from, to, bytes, at);
    const pastEnd = this.#bits >>> 5;
    if (to > pastEnd && pastEnd < this.words.length) {
      this.words[pastEnd]! &= ~(-1 << (this.#bits & 31));
      this.words.fill(0, pastEnd + 1);
    }
    this.#summarize(from, to);
    const grown = countBits(this.words, from, to) - before;
    this.count += grown;
    return grown;
  }

  #wordIsUsed(i: number): void {
    const s = i >>> 5;
    this.summary[s]! |= 1 << (i & 31);
    this.top[s >>> 5]! |= 1 << (s & 31);
  }

  #setInWord(i: number, mask: number): number {
    const old = this.words[i]!;
    this.words[i] = old | mask;
    if (old === 0) this.#wordIsUsed(i);
    return popcount(mask & ~old);
  }

  #resetInWord(i: number, mask: number): number {
    const old = this.words[i]!;
    this.words[i] = old & ~mask;
    return popcount(old & mask);
  }

  /** Sets all bits of words `from` to `to - 1`. */
  #setWords(from: number, to: number): number {
    if (from >= to) return 0;
    const added = (to - from) * 32 - this.#countWords(from, to);
    fillWords(this.words, -1, from, to);
    setBits(this.summary, from, to - 1);
    setBits(this.top, from >>> 5, (to - 1) >>> 5);
    return added;
  }

  /** Clears all bits of words `from` to `to - 1`. */
  #resetWords(from: number, to: number): number {
    const removed = this.#countWords(from, to);
    if (removed === 0) return 0;
    fillWords(this.words, 0, from, to);
    resetBits(this.summary, from, to - 1);
    return removed;
  }

  #countWords(from: number, to: number): number {
    let count = 0;
    for (let i = from; i < to; ) {
      const end = Math.min((i | 31) + 1, to);
      if (this.summary[i >>> 5] !== 0) count += countBits(this.words, i, end);
      i = end;
    }
    return count;
  }

  /** Makes the upper levels say what words `from` to `to - 1` hold. */
  #summarize(from: number, to: number): void {
    const { words, summary, top } = this;
    for (let s = from >>> 5; s << 5 < to; s++) {
      const used = usedWords(words, s << 5);
      summary[s] = used;
      if (used !== 0) top[s >>> 5]! |= 1 << (s & 31);
      else top[s >>> 5]! &= ~(1 << (s & 31));
    }
  }
}

/** Sets in 32 words of `words` from `from` on what is set in those of `source`; returns how many bits were 0. */
function mergeWords(words: Int32Array, source: Int32Array, from: number): number {
  let added = 0;
  for (let i = from; i < from + 32; i += 4) {
    const a = source[i]! & ~words[i]!;
    const b = source[i + 1]! & ~words[i + 1]!;
    const c = source[i + 2]! & ~words[i + 2]!;
    const d = source[i + 3]! & ~words[i + 3]!;
    words[i]! |= a;
    words[i + 1]! |= b;
    words[i + 2]! |= c;
    words[i + 3]! |= d;
    added += sumOfBytes(bytesOfPair(a, b) + bytesOfPair(c, d));
  }
  return added;
}

/** Which of the 32 words from `from` on, as far as there are, are not 0. */
function usedWords(words: Int32Array, from: number): number {
  let used = 0;
  const end = Math.min(from + 32, words.length);
  // Without branches, which random bits would make the processor guess wrong. The length is even.
  for (let i = from; i < end; i += 2) {
    const a = words[i]!;
    const b = words[i + 1]!;
    used = (used >>> 2) | (((a | -a) >>> 1) & (1 << 30)) | ((b | -b) & (1 << 31));
  }
  return used >>> ((32 - end) & 31);
}
