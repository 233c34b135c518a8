// A layer under the file driver that knows what would be left after a power cut: what an fdatasync that has returned covers.
import { type FileIo, type IoCallback, nodeFileIo } from "../../../../../src/block/drivers/file/file-io.ts";

/**
 * Carries every call out on the real file, and keeps two copies of the image beside it: what the file holds now, and what
 * is on stable storage for certain. An fdatasync makes stable what had been written when it began, and does so when it
 * returns, a random while later. What is written and not yet covered may be lost, so it does not count.
 */
export class RecordingFileIo implements FileIo {
  /** On stable storage for certain. */
  readonly stable: Uint8Array;
  readonly #written: Uint8Array;
  readonly #delayTurns: () => number;
  fdatasyncs = 0;

  constructor(lengthBytes: number, delayTurns: () => number) {
    this.stable = new Uint8Array(lengthBytes);
    this.#written = new Uint8Array(lengthBytes);
    this.#delayTurns = delayTurns;
  }

  readSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number {
    return nodeFileIo.readSync(fd, bytes, offset, length, position);
  }

  writeSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number {
    const count = nodeFileIo.writeSync(fd, bytes, offset, length, position);
    this.#written.set(bytes.subarray(offset, offset + count), position);
    return count;
  }

  readvSync(fd: number, views: readonly Uint8Array[], position: number): number {
    return nodeFileIo.readvSync(fd, views, position);
  }

  writevSync(fd: number, views: readonly Uint8Array[], position: number): number {
    const count = nodeFileIo.writevSync(fd, views, position);
    this.#note(views, position, count);
    return count;
  }

  readv(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void {
    nodeFileIo.readv(fd, views, position, done);
  }

  writev(fd: number, views: readonly Uint8Array[], position: number, done: IoCallback): void {
    nodeFileIo.writev(fd, views, position, (error, count) => {
      if (error === null) this.#note(views, position, count);
      done(error, count);
    });
  }

  fdatasync(fd: number, done: (error: Error | null) => void): void {
    this.fdatasyncs++;
    const covered = this.#written.slice();
    nodeFileIo.fdatasync(fd, (error) => {
      after(this.#delayTurns(), () => {
        if (error === null) this.stable.set(covered);
        done(error);
      });
    });
  }

  ftruncate(fd: number, lengthBytes: number, done: (error: Error | null) => void): void {
    nodeFileIo.ftruncate(fd, lengthBytes, done);
  }

  ftruncateSync(fd: number, lengthBytes: number): void {
    nodeFileIo.ftruncateSync(fd, lengthBytes);
  }

  #note(views: readonly Uint8Array[], position: number, count: number): void {
    for (const view of views) {
      const length = Math.min(view.length, count);
      this.#written.set(view.subarray(0, length), position);
      position += length;
      count -= length;
    }
  }
}

function after(turns: number, callback: () => void): void {
  if (turns === 0) callback();
  else setImmediate(() => after(turns - 1, callback));
}
