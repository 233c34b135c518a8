// What a real QEMU answered at its registers, asked again: README.md, "qtest transcripts". What must differ stands in qtest-differences.ts.
import { createHash } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { Conversation } from "./qtest-conversation.ts";
import { BROKEN_AT_EDGES, COMMANDS_HERE, EXPECTED_DIFFERENCES, type Step } from "./qtest-differences.ts";
import { readTranscripts, type Transcript, type TranscriptPlayer, withTranscriptMachine } from "./qtest-machine.ts";

const used = new Set<string>();

/** What this device has to reply where QEMU replied `theirs`. */
function replyHere(theirs: string, step: Step): string {
  let reply = theirs;
  for (const { reason, here } of EXPECTED_DIFFERENCES) {
    const changed = here(reply, step);
    if (changed !== reply) used.add(reason);
    reply = changed;
  }
  return reply;
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Where QEMU's device broke for good the disk was the same; the write that it left out is all that this disk has more in the end. */
class ImageAtTheEdges {
  /** The image when QEMU's device broke, by its hash. */
  whenBroken = "";
  /** What the image is to be in the end. */
  atEnd: Uint8Array = new Uint8Array(0);

  async before(step: number, player: TranscriptPlayer): Promise<void> {
    const { write } = BROKEN_AT_EDGES;
    if (step === BROKEN_AT_EDGES.step) {
      this.atEnd = await player.image();
      this.whenBroken = sha256(this.atEnd);
    } else if (step === write.step) {
      const reply = await player.perform(`read 0x${write.address.toString(16)} ${write.bytes}`, "");
      this.atEnd.set(Buffer.from(reply.slice("OK 0x".length), "hex"), write.offsetBytes);
    }
  }
}

async function replay({ id, log, imageSha256 }: Transcript, player: TranscriptPlayer): Promise<void> {
  const conversation = new Conversation();
  const edges = id === BROKEN_AT_EDGES.transcript ? new ImageAtTheEdges() : undefined;
  for (const [step, [command, theirs]] of log.entries()) {
    await edges?.before(step, player);
    conversation.hear(command);
    const expected = replyHere(theirs, { transcript: id, step, command, conversation });
    conversation.hearStatus(command, expected);
    const actual = await player.perform(COMMANDS_HERE[command] ?? command, expected);
    // At once: after a difference the conversation is another, in which interrupts that do not come are waited for.
    expect(actual, `step ${step}: ${command}: QEMU ${theirs}`).toBe(expected);
  }
  const image = await player.image();
  expect(edges?.whenBroken ?? sha256(image)).toBe(imageSha256);
  if (edges !== undefined) expect(Buffer.compare(image, edges.atEnd), "the image, but for the sector written").toBe(0);
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
