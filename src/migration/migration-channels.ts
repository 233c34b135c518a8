// How migrations are connected: over sockets, commands and inherited descriptors. docs/reference/migration-stream.md §5.

import { checkDescriptor, openDescriptor } from "../transport/descriptor-stream.ts";
import { openCommand } from "../transport/exec-stream.ts";
import { NodeByteStream } from "../transport/node-byte-stream.ts";
import { connectTo, formatSocketAddress, listenOn } from "../transport/socket-address.ts";
import type { MigrationAddress, MigrationChannel, MigrationChannels } from "./migration-address.ts";

/** Those of a program that runs on a system. */
export const systemChannels: MigrationChannels = {
  check(address) {
    if (address.type === "fd") checkDescriptor(address.name);
  },

  async connect(address) {
    if (address.type === "exec" || address.type === "fd") return openAlone(address, "write");
    const socket = await connectTo(address);
    return socketChannel(formatSocketAddress(address), socket);
  },

  async listen(address, onChannel) {
    if (address.type === "exec" || address.type === "fd") {
      onChannel(openAlone(address, "read"));
      return { address: undefined, close: () => Promise.resolve() };
    }
    const listener = await listenOn(address, (socket) =>
      onChannel(socketChannel(formatSocketAddress(address), socket)),
    );
    return listener;
  },
};

function openAlone(
  address: Extract<MigrationAddress, { type: "exec" | "fd" }>,
  direction: "read" | "write",
): MigrationChannel {
  if (address.type === "exec") return { stream: openCommand(address.command, direction), kind: "command" };
  const { stream, isSocket } = openDescriptor(address.name, direction);
  return { stream, kind: isSocket ? "socket" : "file" };
}

function socketChannel(name: string, socket: Awaited<ReturnType<typeof connectTo>>): MigrationChannel {
  return { stream: new NodeByteStream({ name, readable: socket, writable: socket }), kind: "socket" };
}
