// `vblk machine`, also installed as `virtio-blk-system`: a machine with QEMU's command line and monitor.

import { boardOf } from "../machine/boards.ts";
import { CommandLineError, parseCommandLine } from "../machine/command-line.ts";
import { MonitoredMachine } from "../machine/monitored-machine.ts";
import { parseTraceOptions, type TraceSettings } from "../machine/trace-options.ts";
import { BlockError, QmpError } from "../src/base/errors.ts";
import { tracePointNames } from "../src/base/trace.ts";
import { printTracesAsSet } from "./trace-printer.ts";

export const MACHINE_HELP = `Usage: vblk machine -M virt|none [options]

A machine without a CPU, with QEMU's command line and its monitor: block nodes, drives, virtio block devices, backup jobs, bitmaps.

  -M virt|none                 the board: with virtio-mmio slots, or without any device
  -m SIZE                      RAM of the board (default 128M)
  -S                           do not run until 'cont'
  -blockdev OPTIONS            a node: JSON, or driver=raw,node-name=disk,file.driver=file,file.filename=disk.img
  -drive OPTIONS               a drive: file=disk.img,format=raw,id=d0[,readonly=on][,cache=writethrough][,werror=stop]
  -device OPTIONS              virtio-blk-device,drive=d0[,id=vb0][,serial=S][,share-rw=on][,queue-size=256][,werror=stop]
  -qmp CHARDEV                 a monitor: unix:PATH[,server=on,wait=off], tcp:HOST:PORT[,server=on,wait=off] or stdio
  -trace [enable=]PATTERN[,events=FILE][,file=FILE][,x-format=text|json]
                               print matching trace points (default: to the standard error); 'help' lists all
  -qtest CHARDEV               a qtest server: register-level clients, as for -qmp
  -qtest-log FILE              what they say goes there (default: the standard error), or nowhere with 'none'
  -accel qtest                 throttled requests wait for qtest's clock_step
  -incoming URI                wait for a migration of bitmaps: unix:PATH, tcp:HOST:PORT, exec:COMMAND, fd:N, or defer
  -global virtio-mmio.force-legacy=false
                               devices have the modern registers (default: the legacy ones, as QEMU)
  -display, -nodefaults, … and others that set up what is not here are taken and mean nothing

Called as qemu-system-arm, qemu-system-aarch64 or qemu-system-riscv64 (a link will do), the board is that program's 'virt'.

Examples:
  $ vblk machine -M none -qmp stdio
  $ vblk machine -M virt -drive file=disk.img,format=raw,id=d0 -device virtio-blk-device,drive=d0,id=vb0 \\
      -qmp unix:/tmp/qmp.sock,server=on,wait=off

Exit status: 0 after quit or a signal, 1 when the machine cannot be made or a migration fails to arrive.
`;

/** Runs until a client says `quit` or a signal comes, and then ends in order with status 0. */
export async function runMachine(args: readonly string[], program: string, version: string): Promise<number> {
  const traces = readTraces(args);
  if (traces.help) {
    for (const name of tracePointNames()) process.stdout.write(`${name}\n`);
    return 0;
  }
  const commandLine = parseCommandLine(args, boardOf(program));
  for (const warning of commandLine.warnings) process.stderr.write(`${program}: ${warning}\n`);
  if (commandLine.show === "help") process.stdout.write(MACHINE_HELP);
  else if (commandLine.show === "version") process.stdout.write(`virtio-blk version ${version}\n`);
  if (commandLine.show !== undefined) return 0;
  for (const warning of traces.warnings) process.stderr.write(`${program}: -trace: warning: ${warning}\n`);
  printTracesAsSet(traces);
  const machine = await MonitoredMachine.create(commandLine, { version, program });
  const onSignal = (signal: NodeJS.Signals, number: number): void => {
    process.stderr.write(`${program}: terminating on signal ${number} (${signal})\n`);
    machine.end();
  };
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  // Neither an idle monitor nor a guest keeps the event loop going.
  const alive = setInterval(() => {}, 2 ** 30);
  try {
    await machine.ended;
  } catch (error) {
    // All has been closed. QEMU ends with status 0 then, too; but what may be lost is told.
    if (!(error instanceof BlockError)) throw error;
    process.stderr.write(`${program}: while closing: ${error.message}\n`);
  } finally {
    clearInterval(alive);
    for (const signal of signals) process.off(signal, onSignal);
  }
  return machine.lost ? 1 : 0;
}

/** Before all else: who asks for the names of trace points need not describe a machine. */
function readTraces(args: readonly string[]): TraceSettings {
  const values = args.flatMap((arg, i) => (/^--?trace$/.test(arg) && args[i + 1] !== undefined ? [args[i + 1]!] : []));
  try {
    return parseTraceOptions(values);
  } catch (error) {
    throw error instanceof QmpError
      ? new CommandLineError(`-trace ${values.join(" -trace ")}: ${error.message}`)
      : error;
  }
}
