// What a machine leaves that stops just now: docs/reference/persistence-migration.md §3.2. All that was written has reached the disk, flushed
// or not; what is lost of it in what order is the business of test/block/drivers/qcow2/crashes.test.ts.

import type { Qcow2Driver } from "../../../src/block/drivers/qcow2/qcow2.ts";
import { checkFile, checkLive, contents, graphOn, imageOptions, type Stage } from "./stage.ts";
import { ImageTwin } from "./twin.ts";

const COPY = "crash.qcow2";

/** Opens a copy of the file: nothing is wrong with it but leaks, what was flushed is there, and of each bitmap all or nothing. */
export async function examineCrash(stage: Stage, twin: ImageTwin): Promise<Uint8Array> {
  const { files } = stage;
  await checkFile(files, "disk.qcow2", true, "after a crash");
  files.put(COPY, files.bytes("disk.qcow2"));
  const graph = graphOn(files);
  const node = await graph.add(imageOptions("disk", COPY) as { driver: string });
  const disk = await contents(node);
  twin.checkKept(disk);
  const found = new ImageTwin(disk);
  found.stored = twin.stored.map((entry) => ({ ...entry }));
  found.load();
  found.check(node.bitmaps, "after a crash");
  await checkLive(node, true, "after a crash");
  if ((node.driver as Qcow2Driver).image.corrupt) throw new Error("opened as corrupt");
  await graph.close();
  files.delete(COPY);
  return disk;
}

/** The program goes on with what is left. */
export async function recoverFromCrash(stage: Stage, twin: ImageTwin): Promise<void> {
  const { files } = stage;
  const left = files.bytes("disk.qcow2");
  twin.bytes = await examineCrash(stage, twin);
  await stage.remove("disk");
  files.put("disk.qcow2", left);
  twin.ram = [];
  twin.mayLeak = true;
}
