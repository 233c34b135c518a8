// Trace points: named places that report what happens to whoever listens, and cost one field read while nobody does.

/** What a trace point reports: field names and plain values. */
export type TraceFields = Readonly<Record<string, string | number | boolean | bigint>>;
export type TraceListener = (name: string, fields: TraceFields) => void;

const points = new Map<string, TracePoint>();
const subscriptions = new Set<{ matches: (name: string) => boolean; listener: TraceListener }>();

/**
 * One place that can be traced. Callers guard the report, so that its fields are only made for a listener:
 *
 *     if (queueNotify.enabled) queueNotify.emit({ queue });
 */
export class TracePoint {
  readonly name: string;
  /** True while somebody listens to this point. */
  enabled = false;
  #listeners: TraceListener[] = [];

  constructor(name: string) {
    this.name = name;
  }

  emit(fields: TraceFields): void {
    for (const listener of this.#listeners) listener(this.name, fields);
  }

  /** Looks again who listens. Called by this file alone. */
  refresh(): void {
    this.#listeners = [];
    for (const { matches, listener } of subscriptions) if (matches(this.name)) this.#listeners.push(listener);
    this.enabled = this.#listeners.length > 0;
  }
}

/** Declares the trace point `name`. Names follow QEMU's where QEMU has the point, and occur once in the program. */
export function tracePoint(name: string): TracePoint {
  let point = points.get(name);
  if (point === undefined) {
    point = new TracePoint(name);
    points.set(name, point);
    point.refresh();
  }
  return point;
}

/** The names of all trace points that have been declared, in their order. */
export function tracePointNames(): string[] {
  return [...points.keys()].sort();
}

/** Tells the names that a pattern fits: `*` stands for any characters, `?` for one. */
export function matchTraceNames(pattern: string): (name: string) => boolean {
  const expression = new RegExp(`^${escapeRegExp(pattern).replaceAll("\\*", ".*").replaceAll("\\?", ".")}$`);
  return (name) => expression.test(name);
}

/**
 * Calls `listener` for every trace point whose name fits `pattern`, a glob or a function, also for those declared later. The function
 * returned ends it.
 */
export function subscribeTrace(pattern: string | ((name: string) => boolean), listener: TraceListener): () => void {
  const matches = typeof pattern === "string" ? matchTraceNames(pattern) : pattern;
  const subscription = { matches, listener };
  subscriptions.add(subscription);
  for (const point of points.values()) point.refresh();
  return () => {
    subscriptions.delete(subscription);
    for (const point of points.values()) point.refresh();
  };
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
