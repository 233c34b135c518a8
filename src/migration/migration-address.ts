// Where a migration goes to or comes from: docs/reference/migration-stream.md §5.

import { QmpError } from "../base/errors.ts";
import type { ByteStream } from "../transport/byte-stream.ts";

export type MigrationAddress =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "inet"; readonly host: string; readonly port: string }
  | { readonly type: "exec"; readonly command: string }
  | { readonly type: "fd"; readonly name: string };

/** A connection, and what messages call it. */
export interface MigrationChannel {
  readonly stream: ByteStream;
  readonly kind: "socket" | "command" | "file";
}

/** Somebody who waits for the source. */
export interface MigrationListener {
  /** Of a socket, with its real port; undefined otherwise. */
  readonly address: MigrationAddress | undefined;
  close(): Promise<void>;
}

/** How streams are opened. Texts of `QmpError`s are QEMU's. */
export interface MigrationChannels {
  /** Throws where an address cannot be used at all: a descriptor that there is not. */
  check(address: MigrationAddress): void;
  connect(address: MigrationAddress): Promise<MigrationChannel>;
  /** Calls `onChannel` once, for the first who comes. */
  listen(address: MigrationAddress, onChannel: (channel: MigrationChannel) => void): Promise<MigrationListener>;
}

/** `unix:PATH`, `tcp:HOST:PORT`, `exec:COMMAND`, `fd:N`; undefined for another scheme. A `QmpError` for an address that is none. */
export function parseMigrationUri(uri: string): MigrationAddress | undefined {
  const [, scheme, rest = ""] = /^(unix|tcp|exec|fd):(.*)$/s.exec(uri) ?? [];
  switch (scheme) {
    case "unix":
      if (rest === "") throw new QmpError("invalid Unix socket address");
      return { type: "unix", path: rest };
    case "tcp": {
      const [, bracketed, plain = "", port] = /^(?:\[([^\]]*)\]|([^:]*)):([^:,]+)$/.exec(rest) ?? [];
      if (port === undefined) throw new QmpError(`error parsing address '${rest}'`);
      return { type: "inet", host: bracketed ?? plain, port };
    }
    case "exec":
      return { type: "exec", command: rest };
    case "fd":
      return { type: "fd", name: rest };
    default:
      return undefined;
  }
}
