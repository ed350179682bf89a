/**
 * What a kind of fault is, and what a run of it counts.
 *
 * @module
 */
import { chance } from "./records.ts";
import { Findings } from "./findings.ts";
import { World, type WorldOptions } from "./world.ts";

export interface Kind {
  readonly name: string;
  /** In a few words, for the list. */
  readonly what: string;
  /** Faults in a full run, and in a short one. */
  readonly counts: { readonly full: number; readonly short: number };
  /** Injects `run.count` faults, or all there are. */
  run(run: FaultRun): Promise<void>;
}

export interface FaultRunOptions {
  readonly kind: string;
  readonly count: number;
  readonly seed: number;
  readonly short: boolean;
  readonly project?: string;
  readonly onProgress: (text: string) => void;
}

/** Thrown to end a kind whose results are not right any more. */
export class NotExactError extends Error {
  override name = "NotExactError";
}

export class FaultRun {
  /** How many faults to inject; a kind that finds fewer says so here. */
  count: number;
  readonly seed: number;
  readonly short: boolean;
  /** Another checkout whose Tailrace is to be tested. */
  readonly project: string | undefined;
  readonly #options: FaultRunOptions;
  injected = 0;
  recovered = 0;
  slowestMs = 0;
  records = 0;
  readonly findings = new Findings();
  readonly remarks: string[] = [];
  #draws = 0;

  constructor(options: FaultRunOptions) {
    this.#options = options;
    this.count = options.count;
    this.seed = options.seed;
    this.short = options.short;
    this.project = options.project;
  }

  /** A number in [0, 1) that follows from the seed. */
  random(): number {
    return chance(this.seed, this.#draws++, 77);
  }

  between(least: number, most: number): number {
    return least + this.random() * (most - least);
  }

  /** One of the list. */
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)];
  }

  world(options: Omit<WorldOptions, "seed" | "project"> = {}): Promise<World> {
    return World.open({ ...options, seed: this.seed, project: this.#options.project });
  }

  inject(): void {
    this.injected++;
    this.#options.onProgress(`${this.injected} of ${this.count}`);
  }

  /** Says what is under way. */
  tell(text: string): void {
    this.#options.onProgress(text);
  }

  /** A fault was injected and is over: waits until the world has recovered from it. */
  async recovers(world: World): Promise<void> {
    const ms = await world.recovered();
    this.recovered++;
    this.slowestMs = Math.max(this.slowestMs, ms);
  }

  /** Notes a recovery that was measured otherwise. */
  recoveredIn(ms: number): void {
    this.recovered++;
    this.slowestMs = Math.max(this.slowestMs, ms);
  }

  /** Compares everything with everything. @throws NotExactError when something is not right */
  async check(world: World): Promise<void> {
    this.#options.onProgress(`${this.injected} of ${this.count}, comparing`);
    const findings = await world.check();
    if (findings.total > 0) {
      this.findings.add(findings);
      throw new NotExactError(`${findings.total} things are not as they must be`);
    }
  }

  /** The last comparison of a world. */
  async finish(world: World): Promise<void> {
    await this.check(world);
    this.records += world.oracle.records;
    const { unknown } = world.load;
    if (unknown > 0) this.remarks.push(`${unknown} sends without an answer`);
  }
}
