// A machine and the scripts that run on it, for Node. Published as `virtio-blk/machine`.

export { QtestChannel } from "../guest/targets/qtest-channel.ts";
export { QtestTarget, type QtestTargetOptions } from "../guest/targets/qtest-target.ts";
export { createImageFile, FileDriver } from "../src/block/drivers/file/file-driver.ts";
export { fileOpener } from "../src/block/drivers/file/file-opener.ts";
export { BackupHandle, type BackupInfo, type StartBackupOptions } from "./backup-handle.ts";
export type { BitmapInfo, ByteRange } from "./bitmap-info.ts";
export { inProcessSubjects } from "./conformance/in-process-subject.ts";
export type { SpawnedProgram } from "./conformance/spawned-process.ts";
export { SpawnedSubjects } from "./conformance/spawned-subject.ts";
export { type BitmapName, type DriveInfo, MachineControl } from "./control.ts";
export type { Drive } from "./drive.ts";
export {
  type DriveOptions,
  type FileDriveOptions,
  type FilelessDriveOptions,
  parseDriveOptions,
} from "./drive-options.ts";
export { EventStream } from "./event-stream.ts";
export { Machine, type MachineDisk, type MachineOptions } from "./machine.ts";
export type {
  ArgumentsIfAny,
  BlockInfo,
  BlockJobInfo,
  JobInfo,
  MachineEvent,
  QmpCommandName,
  QmpCommands,
  QmpEventName,
  QmpEventOf,
  QmpEvents,
  QmpReturn,
  TransactionAction,
} from "./qmp-types.ts";
export {
  type RunScriptOptions,
  runScript,
  type ScriptContext,
  type ScriptMain,
  type ScriptReporter,
} from "./script.ts";
