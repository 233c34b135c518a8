// A Debian Linux under v86, with a virtio device of ours in its machine, spoken to over its serial line.
import { fileURLToPath } from "node:url";
import { V86 } from "v86";
import type { VirtioDevice } from "../../../devices/virtio-device.ts";
import { type V86Cpu, V86Devices } from "../../../machine/hosts/v86.ts";
import { type BootFiles, DEVICE, MODULES, modulePath } from "./linux-boot.ts";

const MEMORY_BYTES = 128 << 20;
const BOOT_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 60_000;

// The last three save time: self tests, a delay for an interrupt that v86 has not, keys and probes that nobody needs here.
const COMMAND_LINE = [
  "console=ttyS0 nokaslr quiet",
  "cryptomgr.notests noisapnp mitigations=off",
  "initcall_blacklist=init_kprobe_trace,load_system_certificate_list",
].join(" ");

/** What a command printed, and its exit status. */
export interface CommandResult {
  readonly status: number;
  readonly output: string;
}

/** From `boot` or `resume` to `end`. Commands go one at a time. */
export class LinuxGuest {
  readonly #emulator: V86;
  #heard = "";
  #listener: (() => void) | undefined;
  #commands = 0;

  private constructor(emulator: V86) {
    this.#emulator = emulator;
    emulator.add_listener("serial0-output-byte", (byte) => {
      this.#heard += String.fromCharCode(byte);
      if (byte === 10) this.#listener?.();
    });
  }

  /** Boots up to the shell; the drivers are not loaded yet. */
  static async boot(files: BootFiles, device: VirtioDevice, legacy = false): Promise<LinuxGuest> {
    const guest = await LinuxGuest.#make(device, legacy, {
      bios: { buffer: files.bios },
      bzimage: { buffer: files.kernel },
      initrd: { buffer: files.initrd },
      cmdline: COMMAND_LINE,
    });
    await guest.#emulator.run();
    await guest.#hears("@@ready@@\n", BOOT_TIMEOUT_MS);
    return guest;
  }

  /** Goes on from a state that `save` gave, with a device that the guest has not seen yet. */
  static async resume(state: ArrayBuffer, files: BootFiles, device: VirtioDevice, legacy = false): Promise<LinuxGuest> {
    const guest = await LinuxGuest.#make(device, legacy, { bios: { buffer: files.bios } });
    await guest.#emulator.restore_state(state);
    await guest.#emulator.run();
    return guest;
  }

  static async #make(device: VirtioDevice, legacy: boolean, boot: object): Promise<LinuxGuest> {
    const emulator = new V86({
      wasm_path: fileURLToPath(import.meta.resolve("v86/build/v86.wasm")),
      memory_size: MEMORY_BYTES,
      vga_memory_size: 1 << 20,
      acpi: true,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      ...boot,
    });
    await new Promise<void>((resolve) => emulator.add_listener("emulator-ready", () => resolve()));
    const { cpu } = (emulator as unknown as { readonly v86: { readonly cpu: V86Cpu } }).v86;
    new V86Devices(cpu).attach(device, { address: DEVICE.address, irq: DEVICE.irq, legacy });
    return new LinuxGuest(emulator);
  }

  /** The whole machine, to resume from. The guest goes on. */
  save(): Promise<ArrayBuffer> {
    return this.#emulator.save_state();
  }

  /** Loads the drivers: the disk is /dev/vda then. */
  async loadDrivers(): Promise<void> {
    await this.run(MODULES.map((module) => `insmod /${modulePath(module)}`).join(" && "));
  }

  /** Runs a command line. Rejects when it fails or takes too long, with what was printed. */
  async run(command: string, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<string> {
    const { status, output } = await this.try(command, timeoutMs);
    if (status !== 0) throw new Error(`'${command}' failed in the guest with status ${status}:\n${output}`);
    return output;
  }

  /** Runs a command line that may fail. */
  async try(command: string, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<CommandResult> {
    const mark = `@@${++this.#commands}@@`;
    this.#heard = "";
    // The mark is put together by the guest, so that an echo of the line is not taken for it.
    this.#emulator.serial0_send(`{ ${command}\n} 2>&1; echo "@@"${this.#commands}"@@$?@@"\n`);
    await this.#hears(new RegExp(`${mark}\\d+@@`), timeoutMs);
    const end = this.#heard.indexOf(mark);
    const status = Number(this.#heard.slice(end + mark.length).split("@@")[0]);
    return { status, output: this.#heard.slice(0, end).replaceAll("\r", "") };
  }

  async end(): Promise<void> {
    await this.#emulator.destroy();
  }

  async #hears(what: string | RegExp, timeoutMs: number): Promise<void> {
    const heard = (): boolean => (typeof what === "string" ? this.#heard.includes(what) : what.test(this.#heard));
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#listener = undefined;
      };
      const fail = (why: string): void => {
        end();
        reject(new Error(`the guest did not say ${what}: ${why}. It said:\n${this.#heard}`));
      };
      const timer = setTimeout(() => fail(`${timeoutMs} ms went by`), timeoutMs);
      const look = (): void => {
        if (heard()) {
          end();
          resolve();
        } else if (this.#heard.includes("end Kernel panic")) {
          fail("its kernel panicked");
        }
      };
      this.#listener = look;
      look();
    });
  }
}
