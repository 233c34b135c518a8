// The command `transaction`, and backups, which are transactions of one action: docs/reference/bitmaps.md §4.

import {
  addBitmapAction,
  clearBitmapAction,
  disableBitmapAction,
  enableBitmapAction,
  mergeBitmapsAction,
  removeBitmapAction,
} from "../../job/bitmap-actions.ts";
import { abortAction, runTransaction, type TransactionAction } from "../../job/transaction.ts";
import { type Command, defineCommand } from "../command.ts";
import { type ArgumentsOf, array, enumeration, object, optional, union } from "../schema/types.ts";
import { type BackupServices, blockdevBackup, blockdevBackupAction } from "./backup.ts";
import {
  addBitmap,
  blockDirtyBitmap,
  blockDirtyBitmapAdd,
  blockDirtyBitmapMerge,
  forgetStored,
  mergeSources,
} from "./bitmap.ts";
import { findBitmap } from "./bitmap-lookup.ts";
import { driveBackup, driveBackupAction } from "./drive-backup.ts";

const transactionAction = union(
  "type",
  {},
  {
    abort: object({ data: object({}) }),
    "block-dirty-bitmap-add": object({ data: blockDirtyBitmapAdd }),
    "block-dirty-bitmap-remove": object({ data: blockDirtyBitmap }),
    "block-dirty-bitmap-clear": object({ data: blockDirtyBitmap }),
    "block-dirty-bitmap-enable": object({ data: blockDirtyBitmap }),
    "block-dirty-bitmap-disable": object({ data: blockDirtyBitmap }),
    "block-dirty-bitmap-merge": object({ data: blockDirtyBitmapMerge }),
    "blockdev-backup": object({ data: blockdevBackup }),
    "drive-backup": object({ data: driveBackup }),
  },
);

const transactionArguments = object({
  actions: array(transactionAction),
  properties: optional(object({ "completion-mode": optional(enumeration("individual", "grouped")) })),
});

function makeAction(services: BackupServices, action: ArgumentsOf<typeof transactionAction>): TransactionAction {
  const { graph } = services;
  switch (action.type) {
    case "abort":
      return abortAction();
    case "block-dirty-bitmap-add":
      return addBitmapAction(() => addBitmap(graph, action.data));
    case "block-dirty-bitmap-remove":
      return removeBitmapAction(() => findBitmap(graph, action.data.node, action.data.name), forgetStored);
    case "block-dirty-bitmap-clear":
      return clearBitmapAction(() => findBitmap(graph, action.data.node, action.data.name).bitmap);
    case "block-dirty-bitmap-enable":
      return enableBitmapAction(() => findBitmap(graph, action.data.node, action.data.name).bitmap);
    case "block-dirty-bitmap-disable":
      return disableBitmapAction(() => findBitmap(graph, action.data.node, action.data.name).bitmap);
    case "block-dirty-bitmap-merge":
      return mergeBitmapsAction(
        () => findBitmap(graph, action.data.node, action.data.target).bitmap,
        () => mergeSources(graph, action.data),
      );
    case "blockdev-backup":
      return blockdevBackupAction(services, action.data);
    case "drive-backup":
      return driveBackupAction(services, action.data);
  }
}

export function transactionCommands(services: BackupServices): Command[] {
  const nodes = () => [...services.graph.nodes].map(({ node }) => node);
  return [
    defineCommand({
      name: "transaction",
      arguments: transactionArguments,
      async run({ actions, properties = {} }) {
        await runTransaction({
          actions: actions.map((action) => makeAction(services, action)),
          nodes: nodes(),
          completionMode: properties["completion-mode"] ?? "individual",
        });
      },
    }),
    defineCommand({
      name: "blockdev-backup",
      arguments: blockdevBackup,
      async run(args) {
        await runTransaction({ actions: [blockdevBackupAction(services, args)], nodes: nodes() });
      },
    }),
    defineCommand({
      name: "drive-backup",
      arguments: driveBackup,
      async run(args) {
        await runTransaction({ actions: [driveBackupAction(services, args)], nodes: nodes() });
      },
    }),
  ];
}
