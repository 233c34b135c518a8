// The machine of the qtest transcripts, and a client at its qtest socket. README.md, "qtest transcripts".
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { virtBoards } from "../../machine/boards.ts";
import { parseCommandLine } from "../../machine/command-line.ts";
import { parseDeviceOptions } from "../../machine/device-options.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { withFolder } from "../support/cli.ts";
import { PROJECT_ROOT } from "../support/project-files.ts";
import { QtestSocket } from "../machine/support/qtest-socket.ts";

export interface Transcript {
  readonly id: string;
  readonly options: { readonly modern?: boolean; readonly packed?: boolean };
  readonly log: readonly (readonly [command: string, reply: string])[];
  readonly imageSha256: string;
}

const DISK_BYTES = 1 << 20;
const EDGE_TIMEOUT_MS = 1500;
const CONTROLLER = "/machine/unattached/device[1]";

export function readTranscripts(): Transcript[] {
  const file = join(PROJECT_ROOT, "test/golden/qtest-virtio.json.gz");
  return (JSON.parse(gunzipSync(readFileSync(file)).toString()) as { transcripts: Transcript[] }).transcripts;
}

/** Performs the commands of a transcript, pseudo commands too. */
export interface TranscriptPlayer {
  /** `expected` says whether an edge of the interrupt is worth waiting for. */
  perform(command: string, expected: string): Promise<string>;
  /** The content of the disk. */
  image(): Promise<Uint8Array>;
}

export async function withTranscriptMachine<Result>(
  { modern = false, packed = false }: Transcript["options"],
  body: (player: TranscriptPlayer) => Promise<Result>,
): Promise<Result> {
  return withFolder(async (folder) => {
    const path = join(folder, "qtest.sock");
    const args = ["-M", "virt", "-accel", "qtest", "-m", "64", "-qtest", `unix:${path},server=on,wait=off`, "-qtest-log", "none"];
    const node = `driver=memory,node-name=d0-file,size=${DISK_BYTES},discard=unmap`;
    args.push("-blockdev", node);
    if (modern) args.push("-global", "virtio-mmio.force-legacy=false");
    const machine = await MonitoredMachine.create(parseCommandLine(args, virtBoards.arm), { version: "0" });
    try {
      const { graph } = machine.machine;
      await graph.node("d0-file")!.write(0, IoVector.of(new Uint8Array(DISK_BYTES).fill(0x5a)));
      await graph.add({ driver: "raw", "node-name": "d0", file: "d0-file", discard: "unmap" });
      const device = `virtio-blk-device,drive=d0,queue-size=64,serial=ORACLE1${packed ? ",packed=on" : ""}`;
      await machine.machine.addDevice(parseDeviceOptions(device));
      const client = await QtestSocket.connect(path);
      await client.ask(`irq_intercept_in ${CONTROLLER}`);
      const result = await body({
        async perform(command, expected) {
          if (command.startsWith("#qmp ")) {
            const { execute, arguments: given = {} } = JSON.parse(command.slice(5)) as { execute: string; arguments?: object };
            return JSON.stringify({ return: await machine.server.execute(execute, given) });
          }
          if (command !== "#irq") return client.ask(command);
          if (expected === "") await client.ask("endianness"); // what has been told is here by then
          return (await client.takeEdges(expected === "" ? 0 : EDGE_TIMEOUT_MS)).join(",");
        },
        async image() {
          const bytes = new Uint8Array(graph.node("d0")!.lengthBytes);
          await graph.node("d0")!.read(0, IoVector.of(bytes));
          return bytes;
        },
      });
      client.end();
      return result;
    } finally {
      machine.end();
      await machine.ended;
    }
  });
}
