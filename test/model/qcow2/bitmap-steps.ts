// Commands on bitmaps in the qcow2 model test, and when they are refused: docs/reference/bitmaps.md §2.6, §3.

import { expect } from "vitest";
import type { BlockNode } from "../../../src/block/node.ts";
import { FlatBitmap } from "../../bitmap/flat-bitmap.ts";
import type { Step } from "./program.ts";
import type { Stage } from "./stage.ts";
import type { ImageTwin, RamBitmap } from "./twin.ts";

const COMMAND = "block-dirty-bitmap-";

type BitmapStep = Extract<Step, { readonly name: string }>;
type AddStep = Extract<Step, { readonly op: "add" }>;

export class BitmapSteps {
  readonly #stage: Stage;
  readonly #twin: ImageTwin;
  readonly #node: BlockNode;
  readonly #version: 2 | 3;

  constructor(stage: Stage, twin: ImageTwin, node: BlockNode, version: 2 | 3) {
    this.#stage = stage;
    this.#twin = twin;
    this.#node = node;
    this.#version = version;
  }

  async perform(given: BitmapStep): Promise<void> {
    // A read-only image takes a new persistent bitmap, and cannot keep it when it is closed.
    const step = given.op === "add" && this.#twin.readOnly ? { ...given, persistent: false } : given;
    const refusal = this.#refusal(step);
    const command = this.#stage.execute(COMMAND + step.op, this.#arguments(step));
    if (refusal !== undefined) return expect(command).rejects.toThrow(refusal);
    await command;
    this.#apply(step);
  }

  #arguments(step: BitmapStep): object {
    const { name } = step;
    if (step.op === "merge") return { node: "disk", target: name, bitmaps: step.sources };
    if (step.op !== "add") return { node: "disk", name };
    const { granularity, persistent, disabled } = step;
    return { node: "disk", name, persistent, disabled, ...(granularity === undefined ? {} : { granularity }) };
  }

  #refusal(step: BitmapStep): string | undefined {
    const bitmap = this.#twin.find(step.name);
    if (step.op === "add") {
      if (bitmap !== undefined) return `Bitmap already exists: ${step.name}`;
      return step.persistent && this.#version === 2 ? "Cannot store dirty bitmaps in qcow2 v2 files" : undefined;
    }
    if (bitmap === undefined) return `Dirty bitmap '${step.name}' not found`;
    if (step.op === "enable" || step.op === "disable") return unusable(bitmap, false);
    if (step.op === "remove")
      return bitmap.readonly ? `Bitmap '${step.name}' is readonly and cannot be modified` : undefined;
    if (step.op !== "merge") return unusable(bitmap, true);
    for (const name of step.sources) {
      const source = this.#twin.find(name);
      if (source === undefined) return `Dirty bitmap '${name}' not found`;
      const refusal = unusable(bitmap, true) ?? unusable(source, false);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #apply(step: BitmapStep): void {
    const twin = this.#twin;
    if (step.op === "add") return this.#add(step);
    const bitmap = twin.find(step.name)!;
    switch (step.op) {
      case "remove":
        twin.ram = twin.ram.filter((other) => other !== bitmap);
        if (bitmap.persistent) twin.stored = twin.stored.filter(({ name }) => name !== step.name);
        return;
      case "clear":
        bitmap.bits.bits.fill(0);
        bitmap.chain = undefined;
        return;
      case "enable":
        bitmap.recording = true;
        return;
      case "disable":
        bitmap.recording = false;
        bitmap.chain = undefined;
        return;
      case "merge":
        for (const name of step.sources) bitmap.bits.merge(twin.find(name)!.bits.clone());
    }
  }

  #add({ name, granularity, persistent, disabled }: AddStep): void {
    const clusterBytes = this.#node.driver.clusterSizeBytes!;
    const bytes = granularity ?? Math.min(65536, Math.max(4096, clusterBytes));
    this.#twin.ram.unshift({
      name,
      bits: new FlatBitmap(this.#twin.bytes.length, bytes),
      recording: !disabled,
      persistent,
      readonly: false,
      inconsistent: false,
      chain: undefined,
    });
  }
}

/** Why a bitmap cannot be used, or changed. */
function unusable({ name, readonly, inconsistent }: RamBitmap, changes: boolean): string | undefined {
  if (changes && readonly) return `Bitmap '${name}' is readonly and cannot be modified`;
  return inconsistent ? `Bitmap '${name}' is inconsistent and cannot be used` : undefined;
}
