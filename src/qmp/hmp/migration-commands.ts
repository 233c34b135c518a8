// The human monitor's commands on migrations, as QEMU 7.2 has them: docs/reference/migration-stream.md §5.

import { QmpError } from "../../base/errors.ts";
import type { Migration } from "../../migration/migration.ts";
import { MIGRATION_CAPABILITIES } from "../../migration/migration-settings.ts";
import { MIGRATION_STATUSES, startMigration } from "../commands/migration.ts";
import type { HmpCommand } from "./hmp-command.ts";
import type { HmpArguments, HmpParameter } from "./hmp-parser.ts";
import { parseMigrationParameter } from "./migration-parameter.ts";

const DETACHED = "terminal does not allow synchronous migration, continuing detached\n";

export function migrationCommands(migration: Migration): HmpCommand[] {
  const flag = (letter: string): HmpParameter => ({ kind: "flag", letter });
  const string = (name: string): HmpParameter => ({ kind: "string", name });
  const verb = (
    name: string,
    synopsis: string,
    description: string,
    parameters: readonly HmpParameter[],
    run: (args: HmpArguments) => void | Promise<void>,
  ): HmpCommand => ({
    names: [name],
    synopsis,
    description,
    parameters,
    run: async (args) => {
      await run(args);
      return "";
    },
  });
  return [
    {
      names: ["migrate"],
      synopsis: "[-d] [-b] [-i] [-r] uri",
      description:
        "migrate to URI (using -d to not wait for completion)\n" +
        "\t\t\t -b for migration without shared storage with full copy of disk\n" +
        "\t\t\t -i for migration without shared storage with incremental copy of disk " +
        "(base image shared between src and destination)\n" +
        "\t\t\t -r to resume a paused migration",
      parameters: [flag("d"), flag("b"), flag("i"), flag("r"), string("uri")],
      run: ({ flags, strings }) => {
        const [blk, inc, resume] = [flags.has("b"), flags.has("i"), flags.has("r")];
        startMigration(migration, { uri: strings.get("uri")!, blk, inc, resume });
        return flags.has("d") ? "" : DETACHED;
      },
    },
    verb("migrate_cancel", "", "cancel the current VM migration", [], () => migration.cancel()),
    verb("migrate_continue", "state", "Continue migration from the given paused state", [string("state")], (args) =>
      migration.continue(oneOf(MIGRATION_STATUSES, args.strings.get("state")!)),
    ),
    verb(
      "migrate_incoming",
      "uri",
      "Continue an incoming migration from an -incoming defer",
      [string("uri")],
      ({ strings }) => migration.startIncoming(strings.get("uri")!),
    ),
    verb("migrate_recover", "uri", "Continue a paused incoming postcopy migration", [string("uri")], () =>
      migration.recover(),
    ),
    verb("migrate_pause", "", "Pause an ongoing migration (postcopy-only)", [], () => migration.pause()),
    verb(
      "migrate_set_capability",
      "capability state",
      "Enable/Disable the usage of a capability for migration",
      [string("capability"), { kind: "switch", name: "state" }],
      ({ strings }) => {
        const capability = oneOf(MIGRATION_CAPABILITIES, strings.get("capability")!);
        migration.setCapabilities([{ capability, state: strings.get("state") === "on" }]);
      },
    ),
    verb(
      "migrate_set_parameter",
      "parameter value",
      "Set the parameter for migration",
      [string("parameter"), string("value")],
      ({ strings }) => {
        const name = strings.get("parameter")!;
        migration.settings.setParameters({ [name]: parseMigrationParameter(name, strings.get("value")!) });
      },
    ),
    verb(
      "migrate_start_postcopy",
      "",
      "Followup to a migration command to switch the migration to postcopy mode. The postcopy-ram capability must be set " +
        "on both source and destination before the original migration command .",
      [],
      () => migration.startPostcopy(),
    ),
  ];
}

function oneOf<Name extends string>(names: readonly Name[], given: string): Name {
  const name = names.find((known) => known === given);
  if (name === undefined) throw new QmpError(`invalid parameter value: ${given}`);
  return name;
}
