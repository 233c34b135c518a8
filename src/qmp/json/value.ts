// JSON values as QMP's dialect has them: integers of 64 bits are exact, and 1.0 is no integer.

/**
 * What a JSON text says. An integer is a `number` where that is exact and a `bigint` up to 64 bits otherwise; a number with a fraction
 * or an exponent, or an integer too large for 64 bits, is a `JsonDouble`. Objects have no prototype.
 */
export type JsonValue = null | boolean | number | bigint | string | JsonDouble | JsonValue[] | JsonObject;

export interface JsonObject {
  [key: string]: JsonValue;
}

/** A number that was not written as an integer. Infinite where its text is beyond all doubles. */
export class JsonDouble {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** True for an object of names and values, one from a JSON text or a plain one from a program. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonDouble);
}
