// The job by which blockdev-create makes an image.

import { BlockError, QmpError } from "../../base/errors.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockdevCreateOptions } from "../../block/graph-options.ts";
import type { Job } from "../../job/job.ts";
import type { JobDriver, JobProgress } from "../../job/job-driver.ts";

const ALL_TO_DO: JobProgress = { current: 0, total: 1 };
const DONE: JobProgress = { current: 1, total: 1 };

/** Makes one image, in one step, as long as that takes: it holds no node, so nobody waits for it to pause. */
export class CreateJob implements JobDriver {
  readonly jobType: string = "create";
  /** It is none of those that the block-job- commands and events are about. */
  readonly isBlockJob: boolean = false;
  readonly #graph: BlockGraph;
  readonly #options: BlockdevCreateOptions;
  #progress: JobProgress = ALL_TO_DO;
  #failure: string | undefined;

  constructor(graph: BlockGraph, options: BlockdevCreateOptions) {
    this.#graph = graph;
    this.#options = options;
  }

  get progress(): JobProgress {
    return this.#progress;
  }

  /** Why there is no image, as query-jobs tells it. */
  get failureText(): string | undefined {
    return this.#failure;
  }

  async run(_job: Job): Promise<void> {
    try {
      await this.#graph.create(this.#options);
    } catch (error) {
      if (!(error instanceof QmpError || error instanceof BlockError)) throw error;
      this.#failure = error.message;
      throw error instanceof BlockError ? error : new BlockError("EINVAL", error.message, { cause: error });
    } finally {
      this.#progress = DONE;
    }
  }

  interrupt(): void {}

  clean(): void {}
}
