// The other end of a socket, as bare as can be: sends bytes, and keeps what comes.
import { connect, type NetConnectOpts, type Socket } from "node:net";

export class RawClient {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #listeners = new Set<() => void>();
  #ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#received.push(bytes);
      this.#tell();
    });
    socket.on("error", () => {}); // a reset counts as an end
    socket.on("close", () => {
      this.#ended = true;
      this.#tell();
    });
    socket.on("end", () => {
      this.#ended = true;
      this.#tell();
    });
  }

  /** Resolves when the connection stands, accepted by a person or not. */
  static connect(where: NetConnectOpts): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...where, allowHalfOpen: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
    });
  }

  get text(): string {
    const all = Buffer.concat(this.#received);
    this.#received = [all];
    return all.toString("latin1");
  }

  get ended(): boolean {
    return this.#ended;
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Resolves when what has come so far fulfils `enough`; rejects when the peer ends before. */
  until(enough: (text: string) => boolean): Promise<string> {
    return this.#wait(
      () => enough(this.text),
      () => this.#ended,
    );
  }

  /** Resolves with all that came when the peer has ended. */
  untilEnd(): Promise<string> {
    return this.#wait(
      () => this.#ended,
      () => false,
    );
  }

  leave(): void {
    this.socket.destroy();
  }

  #wait(done: () => boolean, hopeless: () => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!done() && !hopeless()) return;
        this.#listeners.delete(look);
        if (done()) resolve(this.text);
        else reject(new Error(`the peer ended after ${JSON.stringify(this.text)}`));
      };
      this.#listeners.add(look);
      look();
    });
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
