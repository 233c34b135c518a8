// Where in its input a visitor is, for the messages that name the place.

/** A member or an element, and what it is in; `undefined` is the input as a whole. */
export interface Path {
  readonly parent: Path | undefined;
  readonly segment: string | number;
}

/** How elements of lists are written: `actions[0].data` in JSON, `children.0.size` on the command line. */
export type PathStyle = "json" | "keyval";

/** The whole path, which most messages show. */
export function fullName(path: Path | undefined, style: PathStyle): string {
  if (path === undefined) return "null";
  if (path.parent === undefined) return String(path.segment);
  const outer = fullName(path.parent, style);
  return typeof path.segment === "number" && style === "json"
    ? `${outer}[${path.segment}]`
    : `${outer}.${path.segment}`;
}

/** The last member's name alone, which the others show. An element of a list has none: QEMU prints `null`. */
export function leafName(path: Path | undefined): string {
  return typeof path?.segment === "string" ? path.segment : "null";
}
