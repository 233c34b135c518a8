// What the fuzzer runs, as data that a file can hold: a device, and the steps of the guest that uses and misuses it.

import type { RingFeatures } from "../../devices/virtio-features.ts";

export type FuzzLayout = "split" | "packed" | "legacy" | "legacy big-endian";
export const FUZZ_LAYOUTS: readonly FuzzLayout[] = ["split", "packed", "legacy", "legacy big-endian"];

/** The zones of the disk, in sectors; sequential ones are `written`, and then full, or empty. */
export interface FuzzZones {
  readonly model: "host-managed" | "host-aware";
  readonly zoneSectors: number;
  readonly capacitySectors: number;
  readonly conventional: number;
  readonly maxOpen: number;
  readonly maxActive: number;
  readonly maxAppendSectors: number;
  readonly granularitySectors: number;
  readonly written: boolean;
  readonly readOnly: readonly number[];
  readonly offline: readonly number[];
}

/** The device under the program. */
export interface FuzzSetup {
  readonly layout: FuzzLayout;
  readonly queueSizeMax: number;
  /** Request queues. */
  readonly queues: number;
  readonly offers: RingFeatures;
  readonly readOnly: boolean;
  /** Somebody listens to what the device writes, as an emulator does that caches code. */
  readonly watched: boolean;
  /** The disk has zones; it has none where this is left out. */
  readonly zoned?: FuzzZones;
}

/** The zones that the disk has: nobody can use a host-managed one through the legacy interface, which has no ZONED. */
export function zonesOf({ layout, zoned }: FuzzSetup): FuzzZones | undefined {
  return layout.startsWith("legacy") && zoned?.model === "host-managed" ? undefined : zoned;
}

/** A number of 64 bits, as `0x…`. */
export type Hex = string;

/** One field of a descriptor that a request has just written, numbered in the order of their addresses. */
export interface DescriptorChange {
  readonly entry: number;
  readonly field: "address" | "length" | "flags" | "next or id";
  readonly value: Hex;
  /** Exclusive or with what stands there, instead of `value` itself. */
  readonly flip: boolean;
}

/** A segment of DISCARD, WRITE_ZEROES or SECURE_ERASE. */
export interface FuzzRange {
  readonly sector: Hex;
  readonly sectors: number;
  readonly flags: number;
}

export interface RequestStep {
  readonly do: "request";
  readonly queue: number;
  readonly type: number;
  readonly sector: Hex;
  /** Lengths of the buffers that the header lies in, 16 in all where it is whole. */
  readonly header: readonly number[];
  /** Lengths of the data buffers. */
  readonly data: readonly number[];
  readonly writable: boolean;
  /** What stands at the start of readable data. */
  readonly ranges: readonly FuzzRange[];
  /** Length of the buffer of the status byte; 0 for none. */
  readonly status: number;
  readonly shape: "direct" | "indirect" | "mixed";
  readonly notify: boolean;
  readonly changes: readonly DescriptorChange[];
}

/** A place where a step happens while the device is at work. */
export interface ArmStep {
  readonly do: "arm";
  /** The device is about to look at RAM, its disk has been asked for something, or the line rises. */
  readonly on: "memory" | "disk" | "line";
  /** The how manieth time, from 0 on. */
  readonly after: number;
  readonly what: FuzzStep;
}

export type FuzzStep =
  | RequestStep
  | ArmStep
  /** Reset and bring-up; `features` of those offered, `extra` besides; Status as far as `status`; one area elsewhere. */
  | {
      readonly do: "init";
      readonly features: Hex;
      readonly extra: Hex;
      readonly size: number;
      readonly status: number;
      readonly move: { readonly area: "descriptorArea" | "driverArea" | "deviceArea"; readonly to: number } | undefined;
    }
  | { readonly do: "write"; readonly offset: number; readonly value: number; readonly width: 1 | 2 | 4 }
  | { readonly do: "read"; readonly offset: number; readonly width: 1 | 2 | 4 }
  /** Writes RAM, `at` counted from its start. */
  | { readonly do: "poke"; readonly at: number; readonly value: number; readonly width: 1 | 2 | 4 }
  /** Adds to a word of a ring's driver or device area, numbered from its start: 1 is the index of a split ring. */
  | {
      readonly do: "ring";
      readonly queue: number;
      readonly area: "driverArea" | "deviceArea";
      readonly word: number;
      readonly add: number;
    }
  | { readonly do: "notify"; readonly queue: number; readonly hint: number }
  | { readonly do: "acknowledge" }
  /** Buffers that were used are taken back. */
  | { readonly do: "reap" }
  /** The disk keeps requests from now on, or does not. */
  | { readonly do: "hold"; readonly on: boolean }
  /** So many of the oldest requests that the disk keeps end, every second one with an error if it `fails`; a turn passes. */
  | { readonly do: "time"; readonly ends: number; readonly fails: boolean }
  | { readonly do: "resize"; readonly sectors: number };

export interface FuzzProgram {
  readonly setup: FuzzSetup;
  readonly steps: readonly FuzzStep[];
}

/** A program from a file: its shape is checked as far as running it needs. */
export function parseProgram(text: string): FuzzProgram {
  const program = JSON.parse(text) as Partial<FuzzProgram>;
  const layout = program.setup?.layout;
  if (layout === undefined || !FUZZ_LAYOUTS.includes(layout) || !Array.isArray(program.steps)) {
    throw new Error("no program of the fuzzer: it has a `setup` with a `layout`, and `steps`");
  }
  return program as FuzzProgram;
}

export function formatProgram(program: FuzzProgram): string {
  return `${JSON.stringify(program, undefined, 1)}\n`;
}
