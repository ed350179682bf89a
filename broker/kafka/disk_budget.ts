import type { ResolvedOptions } from "./options.ts";
import type { Topic, Topics } from "./topics.ts";

/** How long what the logs take is believed before they are asked again; what was appended since is counted. */
const COUNTED_FOR_MS = 1_000;
/** So much more than needed is made room for at once. */
const SLACK_OF_BUDGET = 1 / 64;

/**
 * Bounds what all logs together take, by one of two policies: the oldest segments go, whoever has not read them; or new records are
 * refused until others were deleted. Tailrace's own topics are never refused, nor is anything of a topic that keeps all it has ever dropped.
 */
export class DiskBudget {
  readonly #options: ResolvedOptions;
  readonly #topics: Topics;
  #usedBytes = 0;
  #countedAtMs = -Infinity;
  #isRefusing = false;
  /** Bytes dropped since the start. */
  droppedBytes = 0;

  constructor(options: ResolvedOptions, topics: Topics) {
    this.#options = options;
    this.#topics = topics;
  }

  /** Called before records are appended: null when there is room, or room was made; or why there is none. */
  admit(topic: string, bytes: number): string | null {
    const { bufferBytes, whenFull } = this.#options;
    if (bufferBytes < 0) return null;
    const nowMs = this.#options.clock.monotonic();
    const isOver = () => this.#usedBytes + bytes > bufferBytes;
    if (isOver() || nowMs - this.#countedAtMs > COUNTED_FOR_MS) this.#count(nowMs);
    if (isOver() && whenFull === "drop") this.#drop(bufferBytes * (1 - SLACK_OF_BUDGET) - bytes);
    if (isOver() && !topic.startsWith("tailrace.")) {
      return this.#refuse(
        whenFull === "drop" ? "and no topic in it may lose records" : "until records in it are deleted",
      );
    }
    if (this.#isRefusing && !isOver()) {
      this.#isRefusing = false;
      this.#options.log("There is room in the buffer again: records are taken");
    }
    this.#usedBytes += bytes;
    return null;
  }

  #refuse(until: string): string {
    const problem = `The buffer of ${this.#options.bufferBytes} bytes is full: no records are taken ${until}`;
    if (!this.#isRefusing) this.#options.log(problem);
    this.#isRefusing = true;
    return problem;
  }

  #count(nowMs: number): void {
    this.#countedAtMs = nowMs;
    this.#usedBytes = 0;
    for (const { partitions } of this.#topics.all()) {
      for (const { sizeBytes } of partitions) this.#usedBytes += sizeBytes;
    }
  }

  /** Removes the oldest segments of all until no more than `wantedBytes` are taken, or there are none that may go. */
  #drop(wantedBytes: number): void {
    while (this.#usedBytes > wantedBytes) {
      const oldest = this.#oldest();
      if (oldest === null) return;
      const { topic, index } = oldest;
      const partition = topic.partitions[index];
      const from = partition.startOffset;
      const bytes = partition.dropOldest(this.#options.clock.now());
      if (bytes === 0) return;
      this.#usedBytes -= bytes;
      this.droppedBytes += bytes;
      this.#options.log(
        `The buffer of ${this.#options.bufferBytes} bytes is full: dropped ${bytes} bytes of ${topic.name}-${index}, ` +
          `offsets ${from} to ${partition.startOffset - 1}`,
      );
    }
  }

  /** The partition whose first segment was written to longest ago; of those with one segment only, the largest. */
  #oldest(): { readonly topic: Topic; readonly index: number } | null {
    let oldest: { topic: Topic; index: number } | null = null;
    let best: readonly [isGrowing: boolean, age: number] = [true, 0];
    for (const topic of this.#topics.all()) {
      if (!topic.settings.mayDrop) continue;
      for (const [index, { segmentCount, sizeBytes, oldestAppendMs }] of topic.partitions.entries()) {
        if (sizeBytes === 0) continue;
        const isGrowing = segmentCount === 1;
        const rank = isGrowing ? -sizeBytes : oldestAppendMs;
        const isBetter = oldest === null || (best[0] && !isGrowing) || (best[0] === isGrowing && rank < best[1]);
        if (!isBetter) continue;
        oldest = { topic, index };
        best = [isGrowing, rank];
      }
    }
    return oldest;
  }
}
