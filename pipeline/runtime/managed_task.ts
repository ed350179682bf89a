import type { Clock } from "../clock.ts";
import { supervise } from "./supervisor.ts";

export interface ManagedTaskOptions {
  /** What it is, for the log: `pipeline` unless told. */
  readonly what?: "pipeline" | "source" | "delivery";
  /** It does not run until it is started by hand. */
  readonly isAtRest?: boolean;
  readonly clock: Clock;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** One run, until the signal; called again after failures that pass, and after `start`. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Called when it was stopped by hand, or with its process; not when it gave up. */
  readonly onRest?: () => void;
}

/**
 * Keeps a pipeline, a source or a delivery running until it is stopped by hand, given up, or the process ends; and lets it be started again.
 *
 *     running ⇄ resting (stopped by hand, or given up because no retry mends what is wrong)
 */
export class ManagedTask {
  readonly name: string;
  readonly #options: ManagedTaskOptions;
  /** Ends the run, which is under way or about to begin; null at rest. */
  #stop: AbortController | null = null;
  #wake = Promise.withResolvers<void>();
  #resting = Promise.withResolvers<void>();
  #isGivenUp = false;
  #isOver = false;
  /** Commands take turns: a rewind must not meet a start. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(name: string, options: ManagedTaskOptions) {
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
    const ended = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    if (!this.#options.isAtRest) this.#stop = new AbortController();
    while (!signal.aborted) {
      if (this.#stop) await this.#runOnce(AbortSignal.any([signal, this.#stop.signal]));
      else await Promise.race([this.#wake.promise, ended]);
    }
    this.#isOver = true;
    this.#rest();
  }

  async #runOnce(signal: AbortSignal): Promise<void> {
    const { clock, log, run, onRest, what = "pipeline" } = this.#options;
    this.#isGivenUp = false;
    const isWhole = await supervise(`${what} ${this.name}`, run, { clock, log, signal });
    this.#isGivenUp = !isWhole;
    if (isWhole) onRest?.();
    this.#rest();
  }

  #rest(): void {
    this.#stop = null;
    this.#wake = Promise.withResolvers();
    this.#resting.resolve();
    this.#resting = Promise.withResolvers();
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

  /** Runs again. Does nothing when it runs, or its process ends. */
  start(): Promise<void> {
    return this.#inTurn(() => {
      if (!this.#isOver) this.#stop ??= new AbortController();
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
