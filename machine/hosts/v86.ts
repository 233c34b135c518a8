// Puts virtio devices into a v86 machine: its RAM, its memory map and its interrupts. For v86 0.5.462, in Node and in browsers.

import type { VirtioDevice } from "../../devices/virtio-device.ts";
import { VirtioMmio } from "../../devices/virtio-mmio.ts";
import { assert } from "../../src/base/assert.ts";
import { systemClock } from "../../src/base/clock.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";

/** What is needed of v86's CPU: `emulator.v86.cpu`, from the event `emulator-ready` on. */
export interface V86Cpu {
  /** RAM lies somewhere in it; its buffer is replaced when it grows. */
  readonly wasm_memory: { readonly buffer: ArrayBuffer };
  /** RAM. It is slow, but knows where RAM lies. */
  readonly mem8: { readonly byteOffset: number; readonly length: number };
  readonly io: {
    /** Maps [address, address + size), both multiples of 128 KiB. Addresses may come as negative numbers. */
    mmap_register(
      address: number,
      size: number,
      read8: (address: number) => number,
      write8: (address: number, value: number) => void,
      read32: (address: number) => number,
      write32: (address: number, value: number) => void,
    ): void;
  };
  /** Forgets code that was translated from [start, end). */
  jit_dirty_cache(start: number, end: number): void;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
  /** Runs the guest for a while; how long to wait before it is called again. */
  main_loop(): number;
}

/** Where a device is put. */
export interface V86Place {
  /** The first byte of its registers: in a stretch of 128 KiB that nothing else uses, at a multiple of that. */
  readonly address: number;
  /** The interrupt, level-triggered and active high. Devices may share one. */
  readonly irq: number;
  /** The legacy registers (version 1); modern ones by default. */
  readonly legacy?: boolean;
}

const WINDOW_BYTES = 128 << 10;

/**
 * The devices of one v86 machine. Make it once the emulator is ready, before the guest runs:
 *
 *     const emulator = new V86({ acpi: true, autostart: false, … });
 *     emulator.add_listener("emulator-ready", () => {
 *       const devices = new V86Devices(emulator.v86.cpu);
 *       devices.attach(new VirtioBlk({ backend }), { address: 0xd000_0000, irq: 10 });
 *       emulator.run();
 *     });
 *
 * How the guest learns of a device is its own affair: an ACPI table (`LNRO0005`) or the kernel parameter `virtio_mmio.device`.
 * States that v86 saves hold the guest, not the devices: restore one only with devices in the state that the guest left them in.
 */
export class V86Devices {
  /** The guest's RAM, as devices see it. */
  readonly memory: GuestMemory;
  readonly #cpu: V86Cpu;
  readonly #interrupts = new Map<number, SharedInterrupt>();
  #buffer: ArrayBuffer;

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    this.#buffer = cpu.wasm_memory.buffer;
    const { byteOffset, length: sizeBytes } = cpu.mem8;
    this.memory = new GuestMemory({ sizeBytes, buffer: this.#buffer, byteOffset });
    this.memory.onDeviceWrite((address, lengthBytes) => cpu.jit_dirty_cache(address, address + lengthBytes));
    this.#followGrowth();
  }

  /** Puts `device` behind a register bank into the machine. */
  attach(device: VirtioDevice, { address, irq, legacy = false }: V86Place): VirtioMmio {
    assert(address % WINDOW_BYTES === 0, "v86: the address is no multiple of 128 KiB");
    const line = new InterruptLine();
    const region = new VirtioMmio({ device, memory: this.memory, line, legacy });
    this.#interrupt(irq).add(line);
    const offset = (at: number): number => (at >>> 0) - address;
    this.#cpu.io.mmap_register(
      address,
      WINDOW_BYTES,
      (at) => this.#read(region, offset(at), 1),
      (at, value) => this.#write(region, offset(at), 1, value),
      // v86 wants 32 bits as a signed number.
      (at) => this.#read(region, offset(at), 4) | 0,
      (at, value) => this.#write(region, offset(at), 4, value),
    );
    return region;
  }

  #read(region: VirtioMmio, offset: number, width: 1 | 4): number {
    this.#rebindIfMoved();
    return offset + width <= region.size ? region.read(offset, width) : 0;
  }

  #write(region: VirtioMmio, offset: number, width: 1 | 4, value: number): void {
    this.#rebindIfMoved();
    if (offset + width <= region.size) region.write(offset, width, value);
  }

  #interrupt(irq: number): SharedInterrupt {
    let interrupt = this.#interrupts.get(irq);
    if (interrupt === undefined) {
      interrupt = new SharedInterrupt(this.#cpu, irq);
      this.#interrupts.set(irq, interrupt);
    }
    return interrupt;
  }

  /** RAM moves only while the guest runs, and requests end only while it does not: looking in between is enough. */
  #followGrowth(): void {
    const run = this.#cpu.main_loop;
    this.#cpu.main_loop = () => {
      const pauseMs = run.call(this.#cpu);
      this.#rebindIfMoved();
      return pauseMs;
    };
  }

  #rebindIfMoved(): void {
    const { buffer } = this.#cpu.wasm_memory;
    if (buffer === this.#buffer) return;
    this.#buffer = buffer;
    this.memory.rebind(buffer, this.#cpu.mem8.byteOffset, this.#cpu.mem8.length);
  }
}

/** An input of the interrupt controller, raised while any of its lines is. */
class SharedInterrupt {
  readonly #cpu: V86Cpu;
  readonly #irq: number;
  readonly #lines: InterruptLine[] = [];
  #pending = false;

  constructor(cpu: V86Cpu, irq: number) {
    this.#cpu = cpu;
    this.#irq = irq;
  }

  add(line: InterruptLine): void {
    this.#lines.push(line);
    line.onChange((raised) => {
      if (raised) void this.#raiseSoon();
      else if (!this.#raised) this.#cpu.device_lower_irq(this.#irq);
    });
  }

  get #raised(): boolean {
    return this.#lines.some(({ raised }) => raised);
  }

  /** Not within an access of the guest's: v86 would take the interrupt in the middle of the instruction. */
  async #raiseSoon(): Promise<void> {
    if (this.#pending) return;
    this.#pending = true;
    await systemClock.yield();
    this.#pending = false;
    if (this.#raised) this.#cpu.device_raise_irq(this.#irq);
  }
}
