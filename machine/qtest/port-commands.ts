// qtest's I/O ports, on boards that have none: docs/reference/monitor.md §7.

import { addressAt, MalformedCommandError, type QtestCommand, type QtestCommands, uint32At } from "./qtest-command.ts";

const MAX_PORT = 0xffff;

/** Whatever port is read answers all ones, and whatever is written is lost. */
export const portCommands: QtestCommands = {
  inb: input("0x00ff"),
  inw: input("0xffff"),
  inl: input("0xffffffff"),
  outb: output,
  outw: output,
  outl: output,
};

function input(ones: string): QtestCommand {
  return (words) => {
    portAt(words);
    return `OK ${ones}`;
  };
}

function output(words: readonly string[]): string {
  portAt(words);
  uint32At(words, 2);
  return "OK";
}

function portAt(words: readonly string[]): number {
  const port = addressAt(words, 1);
  if (port > MAX_PORT) throw new MalformedCommandError(`${words[0]}: ports end at 0x${MAX_PORT.toString(16)}`);
  return port;
}
