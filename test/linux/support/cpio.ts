// A cpio archive in the form that Linux takes for an initial file system ("newc").

/** A file of the archive. A path ending in `/` is a folder. */
export interface CpioEntry {
  readonly path: string;
  readonly content?: Uint8Array | string;
  readonly executable?: boolean;
}

const FOLDER_MODE = 0o040755;
const FILE_MODE = 0o100644;
const PROGRAM_MODE = 0o100755;

/** The archive, padded to a multiple of 512 bytes, so that another may follow. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map((entry, index) => member(entry, index + 1));
  parts.push(member({ path: "TRAILER!!!" }, 0));
  const archive = Buffer.concat(parts);
  return Buffer.concat([archive, Buffer.alloc(-archive.length & 511)]);
}

function member({ path, content = "", executable = false }: CpioEntry, inode: number): Buffer {
  const folder = path.endsWith("/");
  const name = Buffer.from(`${folder ? path.slice(0, -1) : path}\0`);
  const data = typeof content === "string" ? Buffer.from(content) : content;
  const mode = folder ? FOLDER_MODE : executable ? PROGRAM_MODE : FILE_MODE;
  // inode, mode, uid, gid, links, time, size, device (2), special device (2), length of the name, checksum
  const fields = [inode, inode === 0 ? 0 : mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return Buffer.concat([padded(Buffer.concat([header, name])), padded(data)]);
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
