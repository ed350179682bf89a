/**
 * Backfills of the pipelines of this process: each goes on by itself once it has begun, and ends with the process.
 *
 * @module
 */
import type { BackfillDesk, BackfillJob } from "../api/backfill_desk.ts";
import { type ArchivedTopic, archivedTopic } from "../pipeline/backfill/archived_topic.ts";
import {
  backfill,
  type BackfillDeps,
  type BackfillRequest,
  type BackfillResult,
  previewBackfill,
} from "../pipeline/backfill/backfill.ts";
import type { CheckpointStore } from "../pipeline/checkpoint/checkpoint.ts";
import type { HistoryStore } from "../pipeline/checkpoint/history.ts";
import type { Clock } from "../pipeline/clock.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import type { Archive } from "../pipeline/sinks/lake/archive/archive.ts";
import type { LakeDatabase } from "../pipeline/sinks/lake/database.ts";
import type { Lake } from "../pipeline/sinks/lake/lake.ts";
import type { Sink } from "../pipeline/sinks/sink.ts";

/** What a backfill needs of a pipeline of this process. */
export interface BackfilledUnit {
  readonly plan: Plan;
  /** To all its destinations; each write waits while one is away. */
  readonly sink: Sink;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Does something that only its owner may do, while it rests; null when it is running. @throws ConflictError when it was taken over */
  whileOwned<T>(work: () => Promise<T>): Promise<T | null>;
  /** A generation above this one and all there were; what the pipeline computes from now on has it, too. */
  raiseGeneration(above: number): Promise<number>;
}

export interface BackfillsOptions {
  readonly units: readonly BackfilledUnit[];
  readonly archives: readonly Pick<Archive, "topic" | "table" | "flush">[];
  readonly lake: Pick<Lake, "store" | "table">;
  /** A database of their own: what they compute does not wait for what the lake writes. */
  readonly database: LakeDatabase;
  readonly newCluster: () => Cluster;
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  readonly clock: Clock;
  /** The end of the process. */
  readonly signal: AbortSignal;
  readonly log: (level: "info" | "error", message: string) => void;
}

/** Disposing ends those under way, each after the write it is at. */
export function createBackfills(options: BackfillsOptions): BackfillDesk & AsyncDisposable {
  return new Backfills(options);
}

/** A job and what it takes to end it. */
interface Running {
  job: BackfillJob;
  readonly ended: AbortController;
  /** Cancelled, or the process ends. */
  readonly signal: AbortSignal;
  over: Promise<void>;
}

class Backfills implements BackfillDesk, AsyncDisposable {
  readonly #options: BackfillsOptions;
  readonly #jobs = new Map<string, Running>();

  constructor(options: BackfillsOptions) {
    this.#options = options;
  }

  begin(pipeline: string, { isPreview, ...request }: BackfillRequest & { isPreview: boolean }): BackfillJob | null {
    const unit = this.#options.units.find(({ plan }) => plan.name === pipeline);
    if (!unit) throw new Error(`There is no pipeline ${pipeline}`);
    if (this.#jobs.get(pipeline)?.job.state === "running") return null;
    const { clock, signal } = this.#options;
    const ended = new AbortController();
    const running: Running = {
      job: {
        pipeline,
        isPreview,
        state: "running",
        doing: "beginning",
        progress: null,
        startedMs: clock.now(),
        endedMs: null,
        problem: null,
        result: null,
      },
      ended,
      signal: AbortSignal.any([signal, ended.signal]),
      over: Promise.resolve(),
    };
    this.#jobs.set(pipeline, running);
    running.over = this.#work(running, unit, request);
    return running.job;
  }

  job(pipeline: string): BackfillJob | null {
    return this.#jobs.get(pipeline)?.job ?? null;
  }

  async cancel(pipeline: string): Promise<BackfillJob | null> {
    const running = this.#jobs.get(pipeline);
    if (!running) return null;
    running.ended.abort(new DOMException("The backfill was cancelled", "AbortError"));
    await running.over;
    return running.job;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#jobs.keys()].map((pipeline) => this.cancel(pipeline)));
  }

  /** Never rejects. */
  async #work(running: Running, unit: BackfilledUnit, request: BackfillRequest): Promise<void> {
    const { clock, log } = this.#options;
    const { isPreview, pipeline } = running.job;
    const end = (state: BackfillJob["state"], more: Partial<BackfillJob>) =>
      running.job = { ...running.job, state, doing: state, endedMs: clock.now(), ...more };
    const doing = (doing: string) => running.job = { ...running.job, doing };
    try {
      const result = isPreview
        ? await this.#preview(running, unit, request)
        : await this.#build(running, unit, request, doing);
      end("done", { result });
      if (!isPreview) {
        log(
          "info",
          `pipeline ${pipeline} was built from the archive: ${result.rows} rows of ${result.windows} windows`,
        );
      }
    } catch (error) {
      const isCancelled = running.signal.aborted;
      const isRefusal = error instanceof ConfigError;
      end(isCancelled ? "cancelled" : "failed", {
        problem: isCancelled ? null : { detail: (error as Error).message, isRefusal },
      });
      if (!isCancelled && !isRefusal) log("error", `the backfill of ${pipeline} failed: ${(error as Error).message}`);
    }
  }

  async #preview(running: Running, unit: BackfilledUnit, request: BackfillRequest): Promise<BackfillResult> {
    await using cluster = this.#options.newCluster();
    return await previewBackfill(unit.plan, request, this.#deps(running, unit, cluster));
  }

  /** Whatever comes of it, the pipeline runs again. */
  async #build(
    running: Running,
    unit: BackfilledUnit,
    request: BackfillRequest,
    doing: (what: string) => void,
  ): Promise<BackfillResult> {
    doing("stopping the pipeline");
    await unit.stop();
    try {
      running.signal.throwIfAborted();
      const result = await unit.whileOwned(async () => {
        await using cluster = this.#options.newCluster();
        return await backfill(unit.plan, request, {
          ...this.#deps(running, unit, cluster),
          sink: unit.sink,
          raiseGeneration: (above) => unit.raiseGeneration(above),
        });
      });
      if (result === null) throw new UnavailableError(`${unit.plan.name} was started meanwhile: ask again`);
      return result;
    } finally {
      doing("starting the pipeline");
      await unit.start();
    }
  }

  #deps(running: Running, { plan }: BackfilledUnit, cluster: Cluster): BackfillDeps {
    const { database, checkpoints, history, clock } = this.#options;
    const { signal } = running;
    running.job = { ...running.job, doing: "flushing the archive" };
    return {
      cluster,
      checkpoints,
      history,
      database,
      nowMs: clock.now(),
      signal,
      archive: (topic) => this.#archive(plan, { ...topic, signal }),
      onProgress: (progress) => {
        const doing = progress.phase === "reading" ? "reading the archive" : "computing windows";
        running.job = { ...running.job, doing, progress };
      },
    };
  }

  async #archive(
    plan: Plan,
    { id, partitions, signal }: {
      readonly id: string | null;
      readonly partitions: readonly number[];
      readonly signal: AbortSignal;
    },
  ): Promise<ArchivedTopic> {
    const { archives, lake } = this.#options;
    const archive = archives.find(({ topic }) => topic === plan.topic);
    if (!archive) {
      throw new ConfigError({
        where: `backfill ${plan.name}`,
        problem:
          `topic ${plan.topic} has no archive: add archive: lake() to it in the definition, and restart. Until records ` +
          `are archived, tailrace rewind ${plan.name} --earliest computes what the log holds`,
      });
    }
    await archive.flush({ signal });
    const table = await lake.table(archive.table, { signal });
    if (!table) {
      throw new ConfigError({
        where: `backfill ${plan.name}`,
        problem: `the archive lake.${archive.table} of topic ${plan.topic} holds nothing yet: ask again when it does`,
      });
    }
    const snapshot = await table.snapshot({ signal });
    return archivedTopic({ topic: plan.topic, topicId: id, partitions, snapshot, store: lake.store, signal });
  }
}
