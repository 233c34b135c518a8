// The thread that talks to a qtest socket while its owner waits: sends batches of command lines, gathers as many answers, and
// keeps the level of one interrupt. docs/reference/monitor.md §7.

import { connect, type Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import {
  ANSWER_BYTES,
  type ChannelBuffers,
  type ChannelRequest,
  CONTROL_INTERRUPT,
  CONTROL_LENGTH,
  CONTROL_STATE,
  STATE_ANSWERED,
  STATE_LOST,
  STATE_PENDING,
  stateOf,
} from "./qtest-channel-protocol.ts";

const { control, answers } = (workerData as { readonly data: ChannelBuffers }).data;
const encoder = new TextEncoder();

let socket: Socket | undefined;
/** Why there is no socket. */
let gone = "the qtest socket is closed";
let rest = "";
let exchange = 0;
let expected = 0;
let gathered: string[] = [];
let interrupt = -1;

parentPort!.on("message", (request: ChannelRequest) => {
  switch (request.kind) {
    case "connect":
      exchange = request.exchange;
      return open(request.path);
    case "commands":
      exchange = request.exchange;
      expected = request.count;
      gathered = [];
      if (socket === undefined) return lose(gone);
      socket.write(request.text);
      return;
    case "watch":
      interrupt = request.interrupt;
      return;
    case "disconnect":
      socket?.destroy();
      socket = undefined;
      return;
  }
});

function open(path: string): void {
  socket?.destroy();
  rest = "";
  expected = 1;
  gathered = [];
  Atomics.store(control, CONTROL_INTERRUPT, 0);
  const opened = connect(path);
  socket = opened;
  opened.setEncoding("latin1");
  opened.on("connect", () => answer("connected"));
  opened.on("data", (text: string) => take(text));
  const end = (reason: string): void => {
    if (socket !== opened) return;
    socket = undefined;
    lose(reason);
  };
  opened.on("error", (error) => end(error.message));
  opened.on("close", () => end("the qtest socket was closed at its other end"));
}

function take(text: string): void {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  if (rest.length > ANSWER_BYTES) return refuse("an answer is too long");
  for (const line of lines) {
    if (line.startsWith("IRQ ")) changeInterrupt(line);
    else if (expected > 0) answer(line);
    else return refuse(`the other end says '${line.slice(0, 80)}', which nobody asked for`);
  }
}

function changeInterrupt(line: string): void {
  const [, change, number] = line.split(" ");
  if (Number(number) !== interrupt) return;
  const raised = change === "raise" ? 1 : 0;
  if (Atomics.exchange(control, CONTROL_INTERRUPT, raised) === 0 && raised === 1) parentPort!.postMessage("raised");
}

/** What talks like this is no qtest server: nothing more is taken from it. */
function refuse(reason: string): void {
  socket?.destroy();
  socket = undefined;
  rest = "";
  lose(reason);
}

function answer(line: string): void {
  gathered.push(line);
  if (gathered.length < expected) return;
  const { read, written } = encoder.encodeInto(gathered.join("\n"), answers);
  expected = 0;
  // Nobody asks for more than fits; a device's answer that is longer still must not look like a whole one.
  if (read === undefined || written === ANSWER_BYTES) return lose("an answer is too long");
  Atomics.store(control, CONTROL_LENGTH, written);
  finish(STATE_ANSWERED);
}

function lose(reason: string): void {
  gone = reason;
  const { written } = encoder.encodeInto(reason, answers);
  Atomics.store(control, CONTROL_LENGTH, written);
  finish(STATE_LOST);
}

function finish(state: number): void {
  // Only of the exchange that the owner still waits for.
  Atomics.compareExchange(control, CONTROL_STATE, stateOf(exchange, STATE_PENDING), stateOf(exchange, state));
  Atomics.notify(control, CONTROL_STATE);
}
