// Sockets by address: connecting and listening, with QEMU's words for what goes wrong.

import { existsSync, lstatSync, unlinkSync } from "node:fs";
import { connect as connectSocket, createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { BlockError, QmpError, strerror } from "../base/errors.ts";
import { type TracePoint, tracePoint } from "../base/trace.ts";

const acceptFailed: TracePoint = tracePoint("socket_accept_failed");

/** Where a socket is. An empty host means this machine itself. */
export type SocketAddress =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "inet"; readonly host: string; readonly port: string };

const LOOPBACK = "127.0.0.1";
/** sun_path of Linux holds 108 bytes, of which Node keeps one for the final zero. */
const MAX_UNIX_PATH_BYTES = 107;
const MAX_PORT = 65535;

/** `unix:/run/vm.qmp`, `tcp:127.0.0.1:4444`: as QEMU names it in `query-chardev`. */
export function formatSocketAddress(address: SocketAddress): string {
  return address.type === "unix" ? `unix:${address.path}` : `tcp:${address.host}:${address.port}`;
}

/** Connects. A `QmpError` with QEMU's text if that fails. The socket stays open for writing when the peer ends, and is paused. */
export function connectTo(address: SocketAddress): Promise<Socket> {
  const target = address.type === "unix" ? { path: checkUnixPath(address.path) } : checkInet(address);
  if (address.type === "inet" && address.host === "") throw resolutionError(address, "Name or service not known");
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ ...target, allowHalfOpen: true });
    socket.pause();
    const fail = (error: Error) => {
      socket.destroy();
      reject(connectError(address, error));
    };
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.off("error", fail);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** A socket that listens, and where: a port of 0 has become a real one. */
export interface Listener {
  readonly address: SocketAddress;
  /** Listens no more, and takes the socket's file away. Connections stay. */
  close(): Promise<void>;
}

/**
 * Listens, and calls `onConnection` with each socket, paused. A `QmpError` with QEMU's text if that fails. A socket that a dead process
 * left behind at a Unix address gives way; anything else there does not, where QEMU would delete it.
 */
export function listenOn(address: SocketAddress, onConnection: (socket: Socket) => void): Promise<Listener> {
  const options: ListenOptions =
    address.type === "unix" ? { path: freeUnixPath(address.path) } : { ...checkInet(address), exclusive: true };
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, onConnection);
    const fail = (error: Error) => reject(listenError(address, error));
    server.once("error", fail);
    server.listen(options, () => {
      server.off("error", fail);
      server.on("error", (error) => {
        // No descriptor for one more connection, say: whoever came is gone, the server goes on.
        if (acceptFailed.enabled) acceptFailed.emit({ address: formatSocketAddress(address), error: error.message });
      });
      resolve({ address: boundAddress(server, address), close: () => closeServer(server) });
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    // Waiting for connections to end is not what closing a listener means.
    resolve();
  });
}

function boundAddress(server: Server, asked: SocketAddress): SocketAddress {
  const bound = server.address();
  if (asked.type === "unix" || bound === null || typeof bound === "string") return asked;
  return { type: "inet", host: bound.address, port: String(bound.port) };
}

function checkUnixPath(path: string): string {
  if (path === "") throw new QmpError("Unable to parse FD number "); // QEMU takes an address without text for a descriptor
  if (new TextEncoder().encode(path).length > MAX_UNIX_PATH_BYTES)
    throw new QmpError(`UNIX socket path '${path}' is too long`);
  return path;
}

function freeUnixPath(path: string): string {
  checkUnixPath(path);
  if (!isSocketFile(path)) return path;
  try {
    unlinkSync(path);
  } catch (error) {
    const { errno } = BlockError.from(error, path);
    if (errno !== "ENOENT") throw new QmpError(`Failed to unlink socket ${path}: ${strerror(errno)}`);
  }
  return path;
}

function isSocketFile(path: string): boolean {
  try {
    return lstatSync(path).isSocket();
  } catch {
    return false; // nothing there, or out of reach: then listening fails and says how
  }
}

function checkInet(address: { host: string; port: string }): { host: string; port: number } {
  if (!/^\d{1,5}$/.test(address.port) || Number(address.port) > MAX_PORT)
    throw resolutionError(address, "Servname not supported for ai_socktype");
  return { host: address.host === "" ? LOOPBACK : address.host, port: Number(address.port) };
}

function resolutionError({ host, port }: { host: string; port: string }, reason: string, cause?: Error): QmpError {
  return new QmpError(`address resolution failed for ${host}:${port}: ${reason}`, "GenericError", { cause });
}

function connectError(address: SocketAddress, error: Error): QmpError {
  const resolution = resolutionFailure(address, error);
  if (resolution !== undefined) return resolution;
  const where = address.type === "unix" ? address.path : `${address.host}:${address.port}`;
  const { message } = BlockError.from(error, `Failed to connect to '${where}'`);
  return new QmpError(message, "GenericError", { cause: error });
}

function listenError(address: SocketAddress, error: Error): QmpError {
  const resolution = resolutionFailure(address, error);
  if (resolution !== undefined) return resolution;
  let { errno } = BlockError.from(error, "");
  // Node reports a missing folder as one that may not be written to.
  if (errno === "EACCES" && address.type === "unix" && !existsSync(dirname(address.path))) errno = "ENOENT";
  const what =
    address.type === "unix"
      ? `Failed to bind socket to ${address.path}`
      : errno === "EADDRINUSE"
        ? "Failed to find an available port"
        : "Failed to bind socket";
  return new QmpError(`${what}: ${strerror(errno)}`, "GenericError", { cause: error });
}

function resolutionFailure(address: SocketAddress, error: Error): QmpError | undefined {
  const code = "code" in error ? error.code : undefined;
  if (address.type !== "inet") return undefined;
  if (code === "ENOTFOUND") return resolutionError(address, "Name or service not known", error);
  if (code === "EAI_AGAIN") return resolutionError(address, "Temporary failure in name resolution", error);
  return undefined;
}
