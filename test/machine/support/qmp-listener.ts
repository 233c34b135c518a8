// Listens where a machine's monitor connects to.
import { createServer } from "node:net";
import { QmpSocket } from "../../support/qmp-socket.ts";

/** Listens at `path`, and hands over the first monitor that comes. */
export async function listenForQmp(path: string): Promise<{ client: Promise<QmpSocket>; close(): void }> {
  const server = createServer();
  const client = new Promise<QmpSocket>((resolve) => {
    server.once("connection", (socket) => resolve(QmpSocket.over(socket)));
  });
  await new Promise<void>((resolve) => server.listen(path, () => resolve()));
  return { client, close: () => server.close() };
}
