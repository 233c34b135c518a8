// Many requests at once on a qcow2 image whose file answers later.
import fc from "fast-check";
import { expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";

const SECTORS = 2048;

interface Request {
  readonly op: "write" | "zero" | "flush" | "read";
  readonly slot: number;
}

const SLOTS = 64;
const SLOT_BYTES = (SECTORS / SLOTS) * 512;

const requests: fc.Arbitrary<Request[]> = fc.array(
  fc.record({ op: fc.constantFrom("write", "write", "write", "zero", "flush", "read"), slot: fc.nat(SLOTS - 1) }),
  { minLength: 1, maxLength: 60 },
);

describeWithTools(["qemu-img"], "requests beside one another on a qcow2 image", () => {
  it("each have their effect, and leave an image that qemu-img finds right", { timeout: 600_000 }, async () => {
    const shapes = fc.record({
      "cluster-size": fc.constantFrom(512, 4096, 65536, 262144),
      "refcount-bits": fc.constantFrom(1, 16),
      "lazy-refcounts": fc.boolean(),
    });
    const property = fc.asyncProperty(
      shapes,
      fc.array(requests, { minLength: 1, maxLength: 4 }),
      async (shape, rounds) => {
        const folder = new ImageFolder();
        try {
          await folder.create("disk.qcow2", { size: SECTORS * 512, ...shape });
          const filename = folder.file("disk.qcow2");
          const node = await folder.open("disk.qcow2", {
            file: { driver: "file", filename, "x-io": "threads" },
            "l2-cache-size": 2048,
          });
          const model = new Uint8Array(SECTORS * 512);
          let byte = 1;
          for (const round of rounds) {
            // Slots are smaller than clusters, or larger; of those of one round no two are the same.
            const taken = new Set<number>();
            const pending: (void | Promise<void>)[] = [];
            for (const { op, slot } of round) {
              const at = slot * SLOT_BYTES + 512;
              const length = SLOT_BYTES - 1024;
              if (op === "flush") pending.push(node.flush());
              if (op === "flush" || taken.has(slot)) continue;
              taken.add(slot);
              if (op === "read") {
                const seen = new Uint8Array(length);
                const expected = model.slice(at, at + length);
                pending.push(
                  Promise.resolve(node.read(at, IoVector.of(seen)))
                    .then(() => expect(seen).toEqual(expected))
                    .then(() => undefined),
                );
              } else if (op === "zero") {
                pending.push(node.writeZeroes(at, length, { mayUnmap: slot % 2 === 0 }));
                model.fill(0, at, at + length);
              } else {
                pending.push(node.write(at, IoVector.of(new Uint8Array(length).fill(byte))));
                model.fill(byte, at, at + length);
                byte = (byte % 255) + 1;
              }
            }
            await Promise.all(pending);
          }
          const seen = new Uint8Array(model.length);
          await node.read(0, IoVector.of(seen));
          expect(Buffer.from(seen).equals(model)).toBe(true);
          await node.flush();
          await folder.close(node);
          expect(folder.check("disk.qcow2")).toBe(CLEAN);
        } finally {
          await folder.dispose();
        }
      },
    );
    await fc.assert(property, { numRuns: process.env["VBLK_SOAK"] === undefined ? 20 : 1000 });
  });
});
