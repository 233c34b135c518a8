// L2 tables and refcount blocks in memory, as many as a limit allows.

import { assert } from "../../../base/assert.ts";
import { viewOf } from "./format.ts";
import type { Qcow2File } from "./image-file.ts";

/** How many tables of a cache are dirty: requests ask each time. */
interface DirtyTally {
  dirty: number;
}

/** One table, and what of it the file does not have yet: bytes `dirtyFrom` to `dirtyTo`. */
export class CachedTable {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #tally: DirtyTally | undefined;
  dirtyFrom: number = Number.POSITIVE_INFINITY;
  dirtyTo = 0;
  /** When it was used last, in uses of the cache. */
  used = 0;

  /** Without a tally: a table of no cache. */
  constructor(offsetBytes: number, bytes: Uint8Array, tally?: DirtyTally) {
    this.offsetBytes = offsetBytes;
    this.bytes = bytes;
    this.view = viewOf(bytes);
    this.#tally = tally;
  }

  get dirty(): boolean {
    return this.dirtyTo > 0;
  }

  markDirty(from: number, to: number): void {
    if (this.#tally !== undefined && !this.dirty) this.#tally.dirty++;
    if (from < this.dirtyFrom) this.dirtyFrom = from;
    if (to > this.dirtyTo) this.dirtyTo = to;
  }

  markClean(): void {
    if (this.#tally !== undefined && this.dirty) this.#tally.dirty--;
    this.dirtyFrom = Number.POSITIVE_INFINITY;
    this.dirtyTo = 0;
  }
}

export interface TableCacheOptions {
  readonly file: Qcow2File;
  readonly tableBytes: number;
  /** Tables that may be held at once; at least 4. */
  readonly capacity: number;
  readonly loadEvent: string;
  readonly updateEvent: string;
  /** What comes before it where all of a table is written. */
  readonly wholeEvents?: readonly string[];
}

/**
 * A cache of tables by their offsets in the file. Only clean tables are given up, those first that were not used for longest. A table
 * that is in the cache is changed within one turn of the event loop: whoever waits for anything asks for it again.
 */
export class TableCache {
  readonly #options: TableCacheOptions;
  readonly #tables = new Map<number, CachedTable>();
  readonly #tally: DirtyTally = { dirty: 0 };
  readonly #loading = new Map<number, Promise<CachedTable>>();
  #uses = 0;
  /** At the latest `giveUpUnused`. */
  #usesBefore = 0;
  #latest: CachedTable | undefined;

  constructor(options: TableCacheOptions) {
    assert(options.capacity >= 4, "table cache: too small");
    this.#options = options;
  }

  /** The table if it is there. */
  peek(offsetBytes: number): CachedTable | undefined {
    let table = this.#latest;
    if (table?.offsetBytes !== offsetBytes) {
      table = this.#tables.get(offsetBytes);
      if (table === undefined) return undefined;
      this.#latest = table;
    }
    table.used = ++this.#uses;
    return table;
  }

  /** Reads the table unless it is there. */
  async load(offsetBytes: number): Promise<CachedTable> {
    for (;;) {
      const there = this.peek(offsetBytes);
      if (there !== undefined) return there;
      let loading = this.#loading.get(offsetBytes);
      if (loading === undefined) {
        loading = this.#read(offsetBytes).finally(() => this.#loading.delete(offsetBytes));
        this.#loading.set(offsetBytes, loading);
      }
      await loading;
    }
  }

  /** A new table in place of anything that the file has there. */
  add(offsetBytes: number, bytes: Uint8Array): CachedTable {
    this.#tables.get(offsetBytes)?.markClean();
    const table = new CachedTable(offsetBytes, bytes, this.#tally);
    table.markDirty(0, bytes.length);
    this.#insert(table);
    return table;
  }

  /** How many tables are held. */
  get size(): number {
    return this.#tables.size;
  }

  /** Gives up the clean tables that nobody has used since the call before this one. */
  giveUpUnused(): void {
    for (const table of this.#tables.values())
      if (!table.dirty && table.used <= this.#usesBefore) this.#tables.delete(table.offsetBytes);
    this.#latest = undefined;
    this.#usesBefore = this.#uses;
  }

  /** Some table is. */
  get dirty(): boolean {
    return this.#tally.dirty > 0;
  }

  /** So many tables are dirty that there is soon no room for others. */
  get crowded(): boolean {
    return this.#tally.dirty > this.#options.capacity / 2 - 1;
  }

  /** Writes what is dirty. What fails stays dirty. */
  async writeOut(): Promise<void> {
    const { file, tableBytes, updateEvent, wholeEvents = [] } = this.#options;
    const tables = [...this.#tables.values()].filter(({ dirty }) => dirty);
    for (const table of tables.sort((a, b) => a.offsetBytes - b.offsetBytes)) {
      const from = Math.floor(table.dirtyFrom / 512) * 512;
      const to = Math.ceil(table.dirtyTo / 512) * 512;
      if (!file.quiet && to - from === tableBytes) for (const event of wholeEvents) await file.event(event);
      await file.event(updateEvent);
      await file.writeBytes(table.offsetBytes + from, table.bytes.slice(from, to));
      table.markClean();
    }
  }

  async #read(offsetBytes: number): Promise<CachedTable> {
    const { file, tableBytes, loadEvent } = this.#options;
    await file.event(loadEvent);
    const table = new CachedTable(offsetBytes, await file.readBytes(offsetBytes, tableBytes), this.#tally);
    // It may have become a new table meanwhile.
    return this.#tables.get(offsetBytes) ?? this.#insert(table);
  }

  #insert(table: CachedTable): CachedTable {
    table.used = ++this.#uses;
    this.#tables.set(table.offsetBytes, table);
    if (this.#latest?.offsetBytes === table.offsetBytes) this.#latest = undefined;
    while (this.#tables.size > this.#options.capacity && this.#giveUpOne()) {}
    return table;
  }

  #giveUpOne(): boolean {
    let oldest: CachedTable | undefined;
    for (const table of this.#tables.values())
      if (!table.dirty && (oldest === undefined || table.used < oldest.used)) oldest = table;
    if (oldest === undefined) return false;
    this.#tables.delete(oldest.offsetBytes);
    if (this.#latest === oldest) this.#latest = undefined;
    return true;
  }
}
