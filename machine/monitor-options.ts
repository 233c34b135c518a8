// The options `-chardev` and `-mon`, which together say in full what `-qmp` says in short: docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import type { OpenableAddress } from "../src/transport/chardev.ts";
import { parseOptionString, parseSwitch } from "./option-string.ts";

/** A character device by its id. */
export interface ChardevOptions {
  readonly id: string;
  readonly address: OpenableAddress;
}

/** A monitor on a character device. */
export interface MonitorOptions {
  /** The id of its character device. */
  readonly chardev: string;
  /** Messages over several lines. */
  readonly pretty: boolean;
}

const BACKENDS = ["socket", "stdio", "null"];
const SOCKET_KEYS = ["path", "host", "port", "server", "wait", "ipv4", "ipv6", "nodelay"];
/** `mode=readline` is a human monitor, which here is reached through QMP alone. */
const MODES = ["readline", "control"];
const IDENTIFIER = /^[A-Za-z][A-Za-z0-9\-._]*$/;

/** `socket,id=ID,path=PATH[,server=on][,wait=off]`, `socket,id=ID,host=HOST,port=PORT[,…]`, `stdio,id=ID` or `null,id=ID`. */
export function parseChardevOptions(text: string): ChardevOptions {
  const options = parseOptionString(withImpliedKey(text, "backend"));
  const backend = options.get("backend");
  const id = options.get("id");
  if (id === undefined) throw new QmpError("chardev: no id specified");
  if (!IDENTIFIER.test(id)) {
    throw new QmpError(
      "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
    );
  }
  if (backend === undefined) throw new QmpError(`chardev: "${id}" missing backend`);
  if (!BACKENDS.includes(backend)) throw new QmpError(`'${backend}' is not a valid char driver name`);
  const known = ["id", "backend", ...(backend === "socket" ? SOCKET_KEYS : [])];
  const unknown = [...options.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined) throw new QmpError(`Invalid parameter '${unknown}'`);
  if (backend !== "socket") return { id, address: { backend: backend === "stdio" ? "stdio" : "null" } };
  const flag = (key: string): boolean | undefined => {
    const value = options.get(key);
    return value === undefined ? undefined : parseSwitch(key, value);
  };
  const socket = { server: flag("server") ?? false, wait: flag("wait") };
  const path = options.get("path");
  if (path !== undefined) return { id, address: { backend: "unix", path, socket } };
  const [host, port] = [options.get("host"), options.get("port")];
  if (host === undefined && port === undefined) {
    throw new QmpError("Unable to parse FD number ");
  }
  if (port === undefined) throw new QmpError("chardev: socket: no port given");
  return { id, address: { backend: "tcp", host: host ?? "", port, socket } };
}

/** `chardev=ID,mode=control[,pretty=on]`, or the id alone for its key. */
export function parseMonitorOptions(text: string): MonitorOptions {
  const options = parseOptionString(withImpliedKey(text, "chardev"));
  const unknown = [...options.keys()].find((key) => !["chardev", "mode", "pretty", "id"].includes(key));
  if (unknown !== undefined) throw new QmpError(`Invalid parameter '${unknown}'`);
  const chardev = options.get("chardev");
  if (chardev === undefined) throw new QmpError("Parameter 'chardev' is missing");
  const mode = options.get("mode") ?? "readline";
  if (!MODES.includes(mode)) throw new QmpError(`Parameter 'mode' does not accept value '${mode}'`);
  const pretty = parseSwitch("pretty", options.get("pretty") ?? "off");
  if (mode !== "control") {
    if (pretty) throw new QmpError("'pretty' is not compatible with HMP monitors");
    throw new QmpError("only mode=control is supported by this machine");
  }
  return { chardev, pretty };
}

/** A first part without `=` is the value of this key. */
function withImpliedKey(text: string, key: string): string {
  return /^[^=,]+(,|$)/.test(text) ? `${key}=${text}` : text;
}
