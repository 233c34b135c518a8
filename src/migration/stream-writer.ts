// The envelope of an outgoing migration: docs/reference/migration-stream.md §1, §2, §6.

import { BinaryWriter } from "./binary-writer.ts";
import {
  BITMAP_SECTION_ID,
  BITMAP_VERSION,
  CMD_OPEN_RETURN_PATH,
  CMD_PACKAGED,
  CMD_PING,
  CMD_POSTCOPY_ADVISE,
  CMD_POSTCOPY_LISTEN,
  CMD_POSTCOPY_RUN,
  GLOBAL_STATE_SECTION_ID,
  GLOBAL_STATE_VERSION,
  RAM_EOS,
  RAM_MEM_SIZE,
  RAM_SECTION_ID,
  RAM_VERSION,
  RUN_STATE_FIELD_BYTES,
  SECTION_COMMAND,
  SECTION_CONFIGURATION,
  SECTION_END,
  SECTION_EOF,
  SECTION_FOOTER,
  SECTION_FULL,
  SECTION_PART,
  SECTION_START,
  SECTION_VMDESC,
  STREAM_MAGIC,
  STREAM_VERSION,
  TIMER_SECTION_ID,
  TIMER_VERSION,
} from "./stream-format.ts";

/** What the sections say of the machine as a whole. */
export interface MachineState {
  /** Before it was stopped for the migration. */
  readonly runState: string;
  /** Of QEMU's two counters, 0 to 2^53. */
  readonly cpuTicksOffset: number;
  readonly cpuClockOffsetNs: number;
}

/** Writes the bytes of the items of a stream, in whichever order they are asked for. */
export class StreamWriter {
  /** What was written and not taken yet; payloads of the bitmap section go here. */
  readonly out: BinaryWriter = new BinaryWriter();

  header(machine: string): void {
    const name = new TextEncoder().encode(machine);
    this.out.u32(STREAM_MAGIC).u32(STREAM_VERSION).u8(SECTION_CONFIGURATION).u32(name.length).bytes(name);
  }

  openReturnPath(): void {
    this.#command(CMD_OPEN_RETURN_PATH, 0);
    this.#command(CMD_PING, 4);
    this.out.u32(1);
  }

  /** `ram`: with what is to be known of pages of RAM, of which there are none. */
  postcopyAdvise(ram: boolean): void {
    this.#command(CMD_POSTCOPY_ADVISE, ram ? 16 : 0);
    if (ram) this.out.u64(0).u64(PAGE_BYTES);
  }

  /** Of a machine without RAM that migrates. */
  ramStart(): void {
    this.#section(SECTION_START, RAM_SECTION_ID, "ram", RAM_VERSION);
    this.out.u64(RAM_MEM_SIZE).u64(RAM_EOS);
    this.#footer(RAM_SECTION_ID);
  }

  /** Says nothing, but that somebody is there. */
  ramPart(): void {
    this.out.u8(SECTION_PART).u32(RAM_SECTION_ID).u64(RAM_EOS);
    this.#footer(RAM_SECTION_ID);
  }

  ramEnd(): void {
    this.out.u8(SECTION_END).u32(RAM_SECTION_ID).u64(RAM_EOS);
    this.#footer(RAM_SECTION_ID);
  }

  /** What is written to `out` from here to `endBitmaps` are chunks, the mark of the section's end included. */
  beginBitmaps(kind: "start" | "part" | "end"): void {
    if (kind === "start") this.#section(SECTION_START, BITMAP_SECTION_ID, "dirty-bitmap", BITMAP_VERSION);
    else this.out.u8(kind === "part" ? SECTION_PART : SECTION_END).u32(BITMAP_SECTION_ID);
  }

  endBitmaps(): void {
    this.#footer(BITMAP_SECTION_ID);
  }

  machineState({ runState, cpuTicksOffset, cpuClockOffsetNs }: MachineState): void {
    const { out } = this;
    this.#section(SECTION_FULL, TIMER_SECTION_ID, "timer", TIMER_VERSION);
    out.u64(cpuTicksOffset).zeroes(8).u64(cpuClockOffsetNs);
    this.#footer(TIMER_SECTION_ID);
    this.#section(SECTION_FULL, GLOBAL_STATE_SECTION_ID, "globalstate", GLOBAL_STATE_VERSION);
    const name = new TextEncoder().encode(runState);
    out.u32(name.length + 1).bytes(name);
    out.zeroes(RUN_STATE_FIELD_BYTES - name.length);
    this.#footer(GLOBAL_STATE_SECTION_ID);
  }

  /** Lets the destination's machine run while the rest of the stream is still to come: §4. */
  postcopyPackage(state: MachineState): void {
    const nested = new StreamWriter();
    nested.#command(CMD_POSTCOPY_LISTEN, 0);
    nested.machineState(state);
    nested.#command(CMD_POSTCOPY_RUN, 0);
    const bytes = nested.out.take();
    this.#command(CMD_PACKAGED, 4);
    this.out.u32(bytes.length).bytes(bytes);
  }

  end(): void {
    this.out.u8(SECTION_EOF);
  }

  /** What the sections with all of their state in one piece were made of. Readers leave it out. */
  description(): void {
    const text = new TextEncoder().encode(DESCRIPTION);
    this.out.u8(SECTION_VMDESC).u32(text.length).bytes(text);
  }

  #section(kind: number, id: number, name: string, version: number): void {
    this.out.u8(kind).u32(id).counted(name).u32(0).u32(version);
  }

  #footer(id: number): void {
    this.out.u8(SECTION_FOOTER).u32(id);
  }

  #command(command: number, dataBytes: number): void {
    this.out.u8(SECTION_COMMAND).u16(command).u16(dataBytes);
  }
}

/** Of the bare machine. */
const PAGE_BYTES = 1024;

/** As QEMU prints it, blanks included. */
const DESCRIPTION =
  '{"page_size": 1024, "devices": [' +
  '{"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": [' +
  '{"name": "cpu_ticks_offset", "type": "int64", "size": 8}, {"name": "unused", "type": "unused_buffer", "size": 8}, ' +
  '{"name": "cpu_clock_offset", "type": "int64", "size": 8}]}, ' +
  '{"name": "globalstate", "instance_id": 0, "vmsd_name": "globalstate", "version": 1, "fields": [' +
  '{"name": "size", "type": "uint32", "size": 4}, {"name": "runstate", "type": "buffer", "size": 100}]}]}';
