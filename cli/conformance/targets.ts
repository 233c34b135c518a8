// The devices that `vblk conformance` can examine: this project's in process, or those of a program.

import { fileURLToPath } from "node:url";
import type { SubjectFactory } from "../../guest/conformance/subject.ts";
import { inProcessSubjects } from "../../machine/conformance/in-process-subject.ts";
import type { SpawnedProgram } from "../../machine/conformance/spawned-process.ts";
import { SpawnedSubjects } from "../../machine/conformance/spawned-subject.ts";
import { packageVersion } from "../../machine/package-version.ts";
import { CommandError } from "../exit.ts";

export const IN_PROCESS = "in-process";
const OWN_PROGRAM = "virtio-blk-system";

/** A factory of the devices that `target` names. Rejects with a `CommandError` when its program does not start. */
export async function openTarget(
  target: string,
  timeoutMs: number | undefined,
): Promise<{ readonly factory: SubjectFactory; close(): Promise<void> }> {
  if (target === IN_PROCESS) return { factory: inProcessSubjects(packageVersion()), close: async () => {} };
  const program = target === OWN_PROGRAM ? ownProgram() : { name: target, command: target };
  try {
    const factory = await SpawnedSubjects.start(program, { timeoutMs });
    return { factory, close: () => factory.close() };
  } catch (error) {
    throw new CommandError(`Could not examine '${target}': ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The command beside this one, from its source as from a built package. */
function ownProgram(): SpawnedProgram {
  const source = import.meta.url.endsWith(".ts");
  const loader = source ? ["--conditions=vblk-source", "--import", import.meta.resolve("tsx")] : [];
  const command = fileURLToPath(new URL(`../system.${source ? "ts" : "js"}`, import.meta.url));
  return {
    name: `${OWN_PROGRAM} ${packageVersion()}, over its qtest socket`,
    command: process.execPath,
    args: [...loader, command],
    deviceSwitches: ["iommu_platform"],
  };
}
