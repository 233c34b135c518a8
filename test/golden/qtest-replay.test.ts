// What a real QEMU answered at its registers, asked again: README.md, "qtest transcripts". What may differ stands in qtest-differences.ts.
import { afterAll, describe, expect, it } from "vitest";
import { type Difference, EXPECTED_DIFFERENCES } from "./qtest-differences.ts";
import { readTranscripts, type Transcript, type TranscriptPlayer, withTranscriptMachine } from "./qtest-machine.ts";

/** The features that the recorded driver takes: SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH, DISCARD, WRITE_ZEROES. */
const DRIVER_FEATURES = 0x6246;
const DISCARD_AND_WRITE_ZEROES = 0x6000;
const DISCARD = 11;
const WRITE_ZEROES = 13;
/** The recorded driver puts the header of a request at a multiple of this. */
const REQUEST_BYTES = 0x1_0000;
const HEADER = /^write (0x401[0-9a-f]0000) 16 0x([0-9a-f]{8})/;

/** The types of requests, by where their headers are. */
class RequestTypes {
  readonly #types = new Map<number, number>();

  note(command: string): void {
    const header = HEADER.exec(command);
    if (header !== null) this.#types.set(Number(header[1]), Buffer.from(header[2]!, "hex").readUInt32LE());
  }

  /** Of the request whose status byte `command` reads. */
  of(command: string): number | undefined {
    const [verb, address, length] = command.split(" ");
    if (verb !== "read" || length !== "1") return undefined;
    return this.#types.get(Math.floor(Number(address) / REQUEST_BYTES) * REQUEST_BYTES);
  }
}

/**
 * While the device offers neither DISCARD nor WRITE_ZEROES, the driver does not accept them, such requests are answered UNSUPP, and
 * what they would have changed is not compared.
 */
class WithoutDiscard {
  readonly active: boolean;
  #refused = false;

  constructor(offered: number) {
    this.active = (offered & DISCARD_AND_WRITE_ZEROES) !== DISCARD_AND_WRITE_ZEROES;
  }

  translate(command: string): string {
    const accepts = command === `writel 0xa003e20 0x${DRIVER_FEATURES.toString(16)}`;
    return this.active && accepts ? `writel 0xa003e20 ${DRIVER_FEATURES & ~DISCARD_AND_WRITE_ZEROES}` : command;
  }

  explains({ command, actual, requestType }: Difference): boolean {
    if (!this.active) return false;
    if ((requestType === DISCARD || requestType === WRITE_ZEROES) && actual === "OK 0x02") {
      this.#refused = true;
      return true;
    }
    const [verb, , length] = command.split(" ");
    return this.#refused && verb === "read" && Number(length) % 512 === 0;
  }

  get imageDiffers(): boolean {
    return this.active && this.#refused;
  }
}

const used = new Set<string>();

async function replay({ id, log, imageSha256 }: Transcript, player: TranscriptPlayer): Promise<void> {
  const without = new WithoutDiscard(Number((await player.perform("readl 0xa003e10", "")).slice(3)));
  const unexplained: string[] = [];
  const types = new RequestTypes();
  let configChanged = false;
  for (const [step, [command, expected]] of log.entries()) {
    types.note(command);
    const actual = await player.perform(without.translate(command), expected);
    if (command === "readl 0xa003e60" && expected === "OK 0x0000000000000003") configChanged = true;
    if (actual === expected) continue;
    const difference = { transcript: id, step, command, expected, actual, requestType: types.of(command), configChanged };
    const rule = EXPECTED_DIFFERENCES.find((candidate) => candidate.explains(difference));
    if (rule !== undefined) used.add(rule.reason);
    else if (!without.explains(difference)) unexplained.push(`step ${step}: ${command}: QEMU ${expected}, here ${actual}`);
  }
  expect(unexplained).toEqual([]);
  if (!without.imageDiffers && id !== "modern-edges") expect(await player.imageSha256()).toBe(imageSha256);
}

describe("qtest-virtio.json.gz", () => {
  for (const transcript of readTranscripts()) {
    it(transcript.id, () => withTranscriptMachine(transcript.options, (player) => replay(transcript, player)));
  }

  afterAll(() => {
    const unused = EXPECTED_DIFFERENCES.filter(({ reason }) => !used.has(reason)).map(({ reason }) => reason);
    expect(unused, "differences that no transcript shows").toEqual([]);
  });
});
