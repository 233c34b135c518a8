// qemu-io's discard, flush and aio_flush: docs/reference/monitor.md §5.1.

import { PERM_WRITE } from "../../block/permissions.ts";
import { errorText } from "./qemu-io-aio-requests.ts";
import { type IoCommand, IoRefusal, IoUsage, MAX_REQUEST_BYTES } from "./qemu-io-command.ts";
import { parseSize, readOptions } from "./qemu-io-options.ts";
import { checkRange } from "./qemu-io-requests.ts";
import { reportText } from "./qemu-io-text.ts";

export const discardCommand: IoCommand = {
  name: "discard",
  alias: "d",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: PERM_WRITE,
  synopsis: "[-Cq] off len",
  description: "discards a number of bytes at a specified offset",
  async run({ backend, services }, words) {
    const { clock, output } = services;
    const options = readOptions(words, "Cq", services.errorOutput);
    const { operands } = options;
    if (operands.length !== 2) throw new IoUsage();
    const offsetBytes = parseSize(operands[0]!);
    const lengthBytes = parseSize(operands[1]!);
    if (lengthBytes > MAX_REQUEST_BYTES)
      throw new IoRefusal(`length cannot exceed ${MAX_REQUEST_BYTES}, given ${operands[1]}`);
    const begunMs = clock.nowMs();
    try {
      checkRange(backend, offsetBytes, lengthBytes);
      const pending = backend.discard(offsetBytes, lengthBytes);
      if (pending !== undefined) await pending;
    } catch (error) {
      output(`discard failed: ${errorText(error)}\n`);
      return;
    }
    const elapsedMs = clock.nowMs() - begunMs;
    if (!options.has("q"))
      output(reportText({ verb: "discard", offsetBytes, lengthBytes, elapsedMs }, options.has("C")));
  },
};

/** That it failed is said to nobody, as in QEMU: the next one, or the guest's, fails as well. */
export const flushCommand: IoCommand = {
  name: "flush",
  alias: "f",
  minArguments: 0,
  maxArguments: 0,
  needs: 0,
  synopsis: "",
  description: "flush all in-core file state to disk",
  async run({ backend }) {
    try {
      await backend.flush();
    } catch (error) {
      errorText(error);
    }
  },
};

/** Lets requests that a breakpoint has stopped go on, where QEMU would wait for them for ever. */
export const aioFlushCommand: IoCommand = {
  name: "aio_flush",
  minArguments: 0,
  maxArguments: 0,
  needs: 0,
  synopsis: "",
  description: "completes all outstanding aio requests",
  async run({ services, aio }) {
    using _drained = await services.graph.drainAll();
    await aio.untilDone();
  },
};
