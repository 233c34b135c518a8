// The shorthand of -qmp, -monitor, -qtest and -serial for a character device: docs/reference/monitor.md §6.

import { QmpError } from "../base/errors.ts";

/** Where a byte stream comes from, as the shorthand tells it. */
export type ChardevAddress =
  | { readonly backend: "unix"; readonly path: string; readonly socket: ChardevSocketOptions }
  | { readonly backend: "tcp"; readonly host: string; readonly port: string; readonly socket: ChardevSocketOptions }
  | { readonly backend: "stdio" }
  | { readonly backend: "null" }
  | { readonly backend: "chardev"; readonly id: string };

export interface ChardevSocketOptions {
  /** We listen, and serve one client after the other; otherwise we connect, once. */
  readonly server: boolean;
  /** Start only when the first client is there. A server does by default; `undefined` when nothing was said. */
  readonly wait: boolean | undefined;
}

const FLAGS: ReadonlySet<string> = new Set(["server", "wait", "nodelay", "ipv4", "ipv6"]);
/** What QEMU's socket character device can and this one cannot: refused rather than left undone. */
const UNSUPPORTED: ReadonlySet<string> = new Set(
  "abstract tight telnet tn3270 websocket reconnect reconnect-ms to localaddr localport tls-creds tls-authz mux logfile logappend fd".split(
    " ",
  ),
);

/**
 * Parses `unix:PATH[,server=on,wait=off]`, `tcp:HOST:PORT[,…]`, `stdio`, `null` or `chardev:ID`. `,,` stands for a comma in PATH. A
 * `QmpError` with QEMU's text if it is none of them; the text may have two lines, each of which QEMU prints as a message of its own.
 */
export function parseChardevAddress(text: string): ChardevAddress {
  if (text === "stdio") return { backend: "stdio" };
  if (text === "null") return { backend: "null" };
  const [, scheme, rest] = /^(unix|tcp|chardev):(.*)$/s.exec(text) ?? [];
  if (scheme === undefined || rest === undefined)
    throw new QmpError(`'${text}' is not a valid char driver\nparse error: ${text}`);
  if (scheme === "chardev") return { backend: "chardev", id: rest };
  if (scheme === "unix") {
    const [path, ...options] = splitOptions(rest);
    return { backend: "unix", path: path ?? "", socket: parseOptions(options, text) };
  }
  const [, host, port, options] = /^([^:]*):([^,]+)(?:,(.*))?$/s.exec(rest) ?? [];
  if (host === undefined || port === undefined) throw new QmpError(`parse error: ${text}`);
  return {
    backend: "tcp",
    host,
    port,
    socket: parseOptions(options === undefined ? [] : splitOptions(options), text),
  };
}

/** The parts between single commas; a double one is a comma within a part. */
function splitOptions(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ",") {
      part += text[at];
    } else if (text[at + 1] === ",") {
      part += ",";
      at++;
    } else {
      parts.push(part);
      part = "";
    }
  }
  parts.push(part);
  return parts;
}

/** `server`, `server=on`, `nowait`: the last one of a name wins. */
function parseOptions(options: readonly string[], text: string): ChardevSocketOptions {
  const flags = new Map<string, boolean>();
  if (options.at(-1) === "") options = options.slice(0, -1); // a comma at the end is no mistake
  for (const option of options) {
    const equals = option.indexOf("=");
    let name = equals === -1 ? option : option.slice(0, equals);
    let value = equals === -1 ? "on" : option.slice(equals + 1);
    if (equals === -1 && !FLAGS.has(name) && name.startsWith("no")) {
      name = name.slice(2);
      value = "off";
    }
    if (UNSUPPORTED.has(name)) throw new QmpError(`Parameter '${name}' is not supported here\nparse error: ${text}`);
    if (!FLAGS.has(name)) throw new QmpError(`Invalid parameter '${name}'\nparse error: ${text}`);
    flags.set(name, parseSwitch(name, value, text));
  }
  return { server: flags.get("server") ?? false, wait: flags.get("wait") };
}

function parseSwitch(name: string, value: string, text: string): boolean {
  if (["on", "yes", "true", "y"].includes(value)) return true;
  if (["off", "no", "false", "n"].includes(value)) return false;
  throw new QmpError(`Parameter '${name}' expects 'on' or 'off'\nparse error: ${text}`);
}
