import type { Clock } from "../clock.ts";
import { supervise } from "./supervisor.ts";

export interface ManagedPipelineOptions {
  readonly clock: Clock;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** One run, until the signal; called again after failures that pass, and after `start`. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/**
 * Keeps a pipeline running until it is stopped by hand, given up, or the process ends; and lets it be started again.
 *
 *     running ⇄ resting (stopped by hand, or given up because no retry mends what is wrong)
 */
export class ManagedPipeline {
  readonly name: string;
  readonly #options: ManagedPipelineOptions;
  #stop: AbortController | null = null;
  #wake = Promise.withResolvers<void>();
  #resting = Promise.withResolvers<void>();
  #isGivenUp = false;
  /** Commands take turns: a rewind must not meet a start. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(name: string, options: ManagedPipelineOptions) {
    this.name = name;
    this.#options = options;
  }

  /** Whether it runs, or is about to run again. */
  get isRunning(): boolean {
    return this.#stop !== null;
  }

  /** Whether it stopped by itself, over something that no retry mends. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** Runs until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, run } = this.#options;
    const ended = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    while (!signal.aborted) {
      const stop = this.#stop = new AbortController();
      this.#isGivenUp = false;
      const isWhole = await supervise(`pipeline ${this.name}`, run, {
        clock,
        log,
        signal: AbortSignal.any([signal, stop.signal]),
      });
      this.#isGivenUp = !isWhole;
      this.#wake = Promise.withResolvers();
      this.#stop = null;
      this.#resting.resolve();
      this.#resting = Promise.withResolvers();
      if (!signal.aborted) await Promise.race([this.#wake.promise, ended]);
    }
  }

  /** Ends the run with a last checkpoint; resolves when it has ended. Does nothing when it rests. */
  stop(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#stop) return;
      const resting = this.#resting.promise;
      this.#stop.abort(new DOMException("The pipeline was stopped", "AbortError"));
      await resting;
    });
  }

  /** Runs again. Does nothing when it runs. */
  start(): Promise<void> {
    return this.#inTurn(() => {
      this.#wake.resolve();
      return Promise.resolve();
    });
  }

  /** Does something that must not meet a run; false when it is running. */
  whileResting<T>(work: () => Promise<T>): Promise<T | false> {
    return this.#inTurn(async () => this.#stop ? false : await work());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
