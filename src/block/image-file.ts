// Image files that a command names by their file names, as drive-backup does: docs/reference/backup.md §2.2, corrections.md B10.

import { QmpError } from "../base/errors.ts";
import { IoVector } from "../base/io-vector.ts";
import { warn } from "../base/warnings.ts";
import type { BlockGraph } from "./graph.ts";
import type { BlockdevOptions, CommonNodeOptions, DriverOpener } from "./graph-options.ts";
import { KNOWN_FORMAT_BYTES, knownFormat } from "./known-formats.ts";
import type { BlockNode } from "./node.ts";

/** As much of a file as formats are told by. */
const PROBED_BYTES = 2048;
/** A protocol before any slash: what follows is not the name of a file. */
const PROTOCOL = /^([^/:]*):/;

/** An image to be made. */
export interface NewImage {
  readonly filename: string;
  readonly lengthBytes: number;
  /** What it stands on. */
  readonly backing?: { readonly filename: string; readonly format: string } | undefined;
}

/** What of a graph formats make images with. */
export type ImageGraph = Pick<BlockGraph, "create" | "open" | "release" | "lookup">;

/** Of a driver whose images are files: how commands deal with them that take a file name. */
export interface ImageFormat {
  /** An image can name one that it stands on. */
  readonly hasBacking: boolean;
  /** Makes an image, in place of a file that is there. `BlockError`s and `QmpError`s have QEMU's texts. */
  create(image: NewImage, graph: ImageGraph): Promise<void>;
  /** How well the first bytes of a file, 2048 at most, fit the format: 0 for not at all, to 100. Undefined: fits all, badly. */
  probe?(head: Uint8Array): number;
}

/** A file is an image by itself, also where a format adds nothing to it. */
export const PLAIN_IMAGE: ImageFormat = {
  hasBacking: false,
  create: ({ filename, lengthBytes }, graph) => graph.create({ driver: "file", filename, size: lengthBytes }),
};

/** Makes an image file. Throws a `QmpError` or `BlockError` with QEMU's text; in that order it looks for mistakes. */
export async function createImageFile(graph: BlockGraph, format: string, image: NewImage): Promise<void> {
  const opener = graph.driver(format);
  if (opener === undefined) throw new QmpError(`Unknown file format '${format}'`);
  const filename = localPath(image.filename);
  if (opener.image === undefined) throw new QmpError(`Format driver '${format}' does not support image creation`);
  const { backing } = image;
  if (backing !== undefined && !opener.image.hasBacking)
    throw new QmpError(`Backing file not supported for file format '${format}'`);
  if (backing?.filename === image.filename)
    throw new QmpError("Error: Trying to create an image with the same filename as the backing file");
  await opener.image.create({ ...image, filename }, graph);
}

/** How an image file is to be opened. */
export interface ImageFileOptions extends Omit<CommonNodeOptions, "driver" | "node-name"> {
  readonly filename: string;
  /** Found out from the file by default. */
  readonly format?: string | undefined;
  /** The node that the image is to stand on, whatever its file says; a `QmpError` where the format stands on none. */
  readonly backing?: BlockNode | undefined;
}

/** Opens an image file for whoever is about to use the node, and throws as `BlockGraph.open` does. */
export async function openImageFile(graph: BlockGraph, options: ImageFileOptions): Promise<BlockNode> {
  const { filename, format, backing, ...common } = options;
  if (format !== undefined) return openAs(graph, format, fileOf(graph, format, filename, common), options);
  const file = await graph.open({ ...fileOptions(filename), ...withoutDetection(common) });
  let found: string;
  try {
    found = await probeFormat(graph, file);
  } catch (error) {
    await graph.release(file);
    throw error;
  }
  return openAs(graph, found, { file: file.name, ...(found === "raw" ? PROBED_AS_RAW : {}) }, options);
}

/** Options of a node that is raw because its file looks like nothing else. */
export const PROBED_AS_RAW: Partial<BlockdevOptions> = { "x-probed": true };

/** Tells of such a node, by the name that the user gave of the file. Nothing needs to be told of one that nobody writes to. */
export function warnOfProbedRaw({ readOnly }: BlockNode, filename: string): void {
  if (readOnly) return;
  const text = `WARNING: Image format was not specified for '${filename}' and probing guessed raw.
         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
         Specify the 'raw' format explicitly to remove the restrictions.`;
  warn(text, { bare: true });
}

async function openAs(
  graph: BlockGraph,
  format: string,
  own: Partial<BlockdevOptions>,
  options: ImageFileOptions,
): Promise<BlockNode> {
  const { filename: _filename, format: _format, backing, ...common } = options;
  const standsOn = graph.driver(format)?.children.some(({ role }) => role === "backing") === true;
  const node = await graph.open({
    ...own,
    ...common,
    driver: format,
    ...(backing === undefined || !standsOn ? {} : { backing: backing.name }),
  });
  if (own["x-probed"] === true) warnOfProbedRaw(node, options.filename);
  if (backing === undefined || standsOn) return node;
  await graph.release(node);
  throw new QmpError(`Driver '${format}' of node '${node.name}' does not support backing files`);
}

/** What a driver is given so that it opens a file: a node of that file below, or the name, of one that opens files itself. */
function fileOf(
  graph: BlockGraph,
  format: string,
  filename: string,
  common: Omit<CommonNodeOptions, "driver">,
): Partial<BlockdevOptions> {
  const opener = graph.driver(format);
  if (opener === undefined) throw new QmpError(`Unknown driver '${format}'`);
  if (opener.children.some(({ role }) => role === "file"))
    return { file: { ...fileOptions(filename), ...withoutDetection(common) } };
  if (format === "null-co") {
    if (filename !== "null-co://") throw new QmpError("The only allowed filename for this driver is 'null-co://'");
    return {};
  }
  return { filename: localPath(filename) };
}

/** The file below an image takes what it is given; zeroes the image looks for alone. */
function withoutDetection(common: Omit<CommonNodeOptions, "driver">): Omit<CommonNodeOptions, "driver"> {
  return { ...common, "detect-zeroes": "off" };
}

function fileOptions(filename: string): BlockdevOptions {
  return { driver: "file", filename: localPath(filename) };
}

/** Throws a `QmpError` where a name means anything but a file. */
export function localPath(filename: string): string {
  const protocol = PROTOCOL.exec(filename)?.[1];
  if (protocol === undefined) return filename;
  if (protocol !== "file") throw new QmpError(`Unknown protocol '${protocol}'`);
  return filename.slice("file:".length);
}

/** As `probeFormat`, of the file that a node of these options opens: for reading, and only until it is known. */
export async function probeUnopened(graph: BlockGraph, options: BlockdevOptions): Promise<string> {
  const file = await graph.open({ ...options, "read-only": true });
  try {
    return await probeFormat(graph, file);
  } finally {
    await graph.release(file);
  }
}

/**
 * The format that fits best what a file begins with; raw fits where no other does. Throws a `QmpError` where it is one that is known and
 * not here.
 */
export async function probeFormat(graph: Pick<BlockGraph, "drivers">, file: BlockNode): Promise<string> {
  const candidates = graph.drivers.filter(({ image }) => image?.probe !== undefined);
  if (candidates.length === 0) return "raw";
  const head = new Uint8Array(Math.min(PROBED_BYTES, file.lengthBytes));
  await file.read(0, IoVector.of(head));
  let best: { readonly driver: string; readonly score: number } = { driver: "raw", score: 0 };
  for (const { driver, image } of candidates as readonly DriverOpener[]) {
    const score = image!.probe!(head);
    if (score > best.score) best = { driver, score };
  }
  const first = new Uint8Array(KNOWN_FORMAT_BYTES);
  first.set(head.subarray(0, KNOWN_FORMAT_BYTES));
  const known = knownFormat(first);
  if (best.score === 0 && known !== undefined) throw new QmpError(`Unknown driver '${known}'`);
  return best.driver;
}
