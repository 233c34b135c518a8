// What jobs tell of themselves, as a client of the monitor hears it.
import type { Message } from "../support/qmp-socket.ts";
import type { SystemClient } from "../support/system-process.ts";

/** What a job told from its creation to its end, without times. `from` is the number of the first message that may be its. */
export async function eventsOfJob(client: SystemClient, id: string, from: number): Promise<readonly Message[]> {
  const isOfJob = ({ data }: Message): boolean => {
    const told = (data ?? {}) as { id?: string; device?: string };
    return told.id === id || told.device === id;
  };
  await client.qmp.next((message) => isOfJob(message) && statusOf(message) === "null", from);
  return client.qmp.messages
    .slice(from)
    .filter(isOfJob)
    .map(({ timestamp: _, ...message }) => message);
}

/** How a block job ended: its BLOCK_JOB_COMPLETED or BLOCK_JOB_CANCELLED. */
export async function endOfJob(client: SystemClient, id: string, from: number): Promise<Message> {
  const events = await eventsOfJob(client, id, from);
  const end = events.findLast(({ event }) => event === "BLOCK_JOB_COMPLETED" || event === "BLOCK_JOB_CANCELLED");
  if (end === undefined) throw new Error(`no end among ${JSON.stringify(events)}`);
  return end;
}

/** Of JOB_STATUS_CHANGE. */
function statusOf({ data }: Message): string | undefined {
  return (data as { status?: string }).status;
}
