// All migrations of one machine, one at a time: what the monitor's commands do. docs/reference/migration-stream.md §5.

import { QmpError } from "../base/errors.ts";
import { type IncomingHost, IncomingMigration } from "./incoming-migration.ts";
import { type MigrationAddress, parseMigrationUri } from "./migration-address.ts";
import type { MigrationStatus } from "./migration-host.ts";
import { type MigrationCapability, MigrationSettings } from "./migration-settings.ts";
import { OutgoingMigration } from "./outgoing-migration.ts";

/** What query-migrate shows, but for numbers of RAM. */
export interface MigrationInfo {
  readonly status?: MigrationStatus;
  readonly description?: string;
  /** Undefined unless an outgoing one is under way or completed. */
  readonly outgoing?: OutgoingMigration;
  /** Where an incoming one is waited for. */
  readonly address?: MigrationAddress;
}

/** Begins with nothing under way; `-incoming` and `defer` make the machine wait. */
export class Migration {
  readonly settings: MigrationSettings = new MigrationSettings();
  readonly #host: IncomingHost;
  #outgoing: OutgoingMigration | undefined;
  #ended: Promise<void> = Promise.resolve();
  /** A migration that failed before it began. */
  #refusal: { readonly description: string | undefined } | undefined;
  #awaits: "nothing" | "defer" | "started" = "nothing";
  #incoming: IncomingMigration | undefined;

  constructor(host: IncomingHost) {
    this.#host = host;
  }

  get outgoingRunning(): boolean {
    return this.#outgoing?.running === true;
  }

  /** -incoming: `defer`, or where the source will come. A `QmpError` where that cannot be. */
  async awaitIncoming(uri: string): Promise<void> {
    this.#awaits = "defer";
    if (uri !== "defer") await this.startIncoming(uri);
  }

  /** migrate-incoming */
  async startIncoming(uri: string): Promise<void> {
    if (this.#awaits === "nothing") throw new QmpError("'-incoming' was not specified on the command line");
    if (this.#awaits === "started") throw new QmpError("The incoming migration has already been started");
    const address = parseMigrationUri(uri);
    if (address === undefined) throw new QmpError(`unknown migration protocol: ${uri}`);
    this.#awaits = "started";
    const incoming = new IncomingMigration(this.#host, this.settings);
    this.#incoming = incoming;
    try {
      await incoming.listen(address);
    } catch (error) {
      this.#awaits = "defer";
      this.#incoming = undefined;
      throw error;
    }
  }

  /** migrate. Returns before anything is connected. */
  start(uri: string): void {
    this.#checkIdle();
    const { state } = this.#host.runState;
    if (state === "inmigrate") throw new QmpError("Guest is waiting for an incoming migration");
    if (state === "postmigrate") throw new QmpError("Can't migrate the vm that was paused due to previous migration");
    this.#outgoing = undefined;
    let address: MigrationAddress | undefined;
    try {
      address = parseMigrationUri(uri);
      if (address !== undefined) this.#host.channels.check(address);
    } catch (error) {
      if (error instanceof QmpError) this.#refuse(error.message);
      throw error;
    }
    if (address === undefined) {
      this.#refuse(undefined);
      throw new QmpError("Parameter 'uri' expects a valid migration protocol");
    }
    this.#refusal = undefined;
    this.#outgoing = new OutgoingMigration(this.#host, this.settings);
    this.#ended = this.#outgoing.run(address);
  }

  cancel(): void {
    this.#outgoing?.cancel();
  }

  startPostcopy(): void {
    if (!this.settings.has("dirty-bitmaps") && !this.settings.has("postcopy-ram")) {
      throw new QmpError("Enable postcopy with migrate_set_capability before the start of migration");
    }
    if (this.#outgoing === undefined && this.#refusal === undefined) {
      throw new QmpError("Postcopy must be started after migration has been started");
    }
    this.#outgoing?.startPostcopy();
  }

  /** migrate-continue */
  continue(state: MigrationStatus): void {
    const now = this.#status ?? "none";
    if (now !== state) throw new QmpError(`Migration not in expected state: ${now}`);
    if (state === "pre-switchover") this.#outgoing?.continue();
  }

  /** migrate-pause */
  pause(): void {
    throw new QmpError("migrate-pause is currently only supported during postcopy-active state");
  }

  /** migrate-recover */
  recover(): void {
    throw new QmpError("Migrate recover can only be run when postcopy is paused.");
  }

  setCapabilities(states: readonly { capability: MigrationCapability; state: boolean }[]): void {
    this.#checkIdle();
    this.settings.setCapabilities(states);
  }

  get info(): MigrationInfo {
    if (this.#refusal !== undefined) return { status: "failed", ...described(this.#refusal.description) };
    const outgoing = this.#outgoing;
    if (outgoing !== undefined) return { status: outgoing.status, ...described(outgoing.description), outgoing };
    const incoming = this.#incoming;
    if (incoming === undefined) return {};
    const { status, address } = incoming;
    // One that is waited for has no status yet, and one that is through no address any more.
    const shown = address === undefined || status === "completed" ? {} : { address };
    return status === "setup" || status === "none" ? shown : { status, ...shown };
  }

  /** Throws a `QmpError` where the machine cannot run yet. */
  checkContinue(): void {
    if (this.#host.runState.state === "finish-migrate" && this.outgoingRunning) {
      throw new QmpError("Migration is not finalized yet");
    }
  }

  /** The machine goes. Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#outgoing?.cancel();
    await this.#ended;
    await this.#incoming?.close();
  }

  get #status(): MigrationStatus | undefined {
    return this.info.status;
  }

  /** It has failed before anything was connected. */
  #refuse(description: string | undefined): void {
    this.#refusal = { description };
    this.#host.onStatus("setup");
    this.#host.onStatus("failed");
  }

  #checkIdle(): void {
    if (this.outgoingRunning) throw new QmpError("There's a migration process in progress");
  }
}

function described(description: string | undefined): { description?: string } {
  return description === undefined ? {} : { description };
}
