/**
 * One pipeline of this process with all that belongs to it: its right to write, its sinks, its runner, and what can be asked of
 * it and done to it by hand.
 *
 * @module
 */
import { hostname } from "node:os";
import postgres from "postgres";
import type { CheckpointStore } from "../pipeline/checkpoint/checkpoint.ts";
import type { PipelineFolders } from "../pipeline/checkpoint/pipeline_folders.ts";
import type { HistoryStore } from "../pipeline/checkpoint/history.ts";
import { systemClock } from "../pipeline/clock.ts";
import { ConflictError, UnavailableError } from "../pipeline/errors.ts";
import type { KafkaAdmin } from "../pipeline/log/admin.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import { RenewablePublisher } from "../pipeline/log/renewable_publisher.ts";
import { noteOffsets } from "../pipeline/log/group_offsets.ts";
import type { RegistryClient } from "../pipeline/log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../pipeline/log/transactions.ts";
import { type Plan, resultColumns, type SinkSpec } from "../pipeline/plan/plan.ts";
import { explain, type Explanation } from "../pipeline/runtime/explain.ts";
import { ManagedPipeline } from "../pipeline/runtime/managed_pipeline.ts";
import { PipelineRunner } from "../pipeline/runtime/pipeline_runner.ts";
import { previewRewind, rewind, type RewindPreview, type RewindTarget } from "../pipeline/runtime/rewind.ts";
import type { ShardHost } from "../pipeline/runtime/shard_host.ts";
import type { LedgerEntry } from "../pipeline/ledger.ts";
import { fanOut } from "../pipeline/sinks/fan_out.ts";
import { createKafkaSink } from "../pipeline/sinks/kafka.ts";
import { assertOwner, claimOwnership, type Fence, raiseGeneration } from "../pipeline/sinks/ownership.ts";
import { registerPipeline } from "../pipeline/sinks/pipeline_registry.ts";
import { createPostgresSink } from "../pipeline/sinks/postgres.ts";
import { writeLedger } from "../pipeline/sinks/postgres_ledger.ts";
import { setAsideWithRetry, untilAvailable, withRetry } from "../pipeline/sinks/retry.ts";
import { createSetAsideSink } from "../pipeline/sinks/set_aside.ts";
import type { ResultRows, Sink } from "../pipeline/sinks/sink.ts";
import type { Config } from "./config.ts";
import type { Logger } from "./log.ts";
import { newestOnly } from "./newest_only.ts";
import { topicsOf } from "./topics.ts";

/** What the pipelines of a process share. */
export interface Shared {
  readonly config: Config;
  readonly log: Logger;
  readonly databaseUrl: string;
  /** For the statements of bookkeeping; each sink has a connection of its own. */
  readonly sql: postgres.Sql;
  readonly admin: KafkaAdmin;
  readonly registry: RegistryClient;
  readonly committed: CommittedLog;
  /** A writer under a transactional id of its own. */
  readonly publisher: (transactionalId: string) => TransactionalPublisher;
  readonly newCluster: () => Cluster;
  /** For short questions. */
  readonly cluster: Cluster;
  readonly hosts: readonly ShardHost[];
  readonly checkpoints: CheckpointStore;
  readonly history: HistoryStore;
  /** Where both are. */
  readonly folders: PipelineFolders;
  readonly onRows: (pipeline: string, rows: ResultRows) => void;
  /** What to close at the end. */
  readonly parts: AsyncDisposableStack;
}

/** A pipeline that runs, or rests, in this process. */
export class PipelineUnit {
  readonly plan: Plan;
  readonly runner: PipelineRunner;
  readonly #shared: Shared;
  readonly #managed: ManagedPipeline;
  readonly #publisher: RenewablePublisher;
  /** Taken once: whoever took the pipeline over since has it. */
  #fence: Fence | null = null;
  #generation = 0;
  /** Another process took it over. */
  #isLost = false;
  /** Whether this process saved a checkpoint, so that there has to be one. */
  #hasSaved = false;

  constructor(plan: Plan, shared: Shared) {
    this.plan = plan;
    this.#shared = shared;
    this.#publisher = new RenewablePublisher(() => shared.publisher(`tailrace.${plan.name}`));
    this.runner = this.#runner();
    this.#managed = new ManagedPipeline(plan.name, {
      clock: systemClock,
      log: (level, message) => shared.log[level](message),
      run: (signal) => this.#run(signal),
      onRest: () => this.runner.rest(),
    });
  }

  /** Keeps it running until the signal, or as commanded. */
  run(signal: AbortSignal): Promise<void> {
    return this.#managed.run(signal);
  }

  get isGivenUp(): boolean {
    return this.#managed.isGivenUp;
  }

  stop(): Promise<void> {
    return this.#managed.stop();
  }

  /** A pipeline that another process took over is taken back: whoever starts it by hand wants it here. */
  start(): Promise<void> {
    if (this.#isLost && !this.#managed.isRunning) {
      this.#isLost = false;
      this.#fence = null;
      this.#publisher.renew();
      this.#shared.folders.release(this.plan.name);
    }
    return this.#managed.start();
  }

  ledger(): readonly LedgerEntry[] {
    return this.runner.ledger();
  }

  /** @throws OffsetOutOfRangeError when the log does not hold the record any more */
  explain(record: { readonly partition: number; readonly offset: number }, signal: AbortSignal): Promise<Explanation> {
    return explain(this.plan, record, { ...this.#shared, clock: systemClock, signal });
  }

  /**
   * What a rewind would compute again.
   *
   * @throws ConfigError when the log or the history do not reach back so far
   */
  async previewRewind(target: RewindTarget): Promise<RewindPreview> {
    await using cluster = this.#shared.newCluster();
    return await previewRewind(this.plan, target, this.#rewindDeps(cluster));
  }

  /**
   * Rewinds; null when it is running.
   *
   * @throws ConflictError when another process has taken the pipeline over, and as `previewRewind`
   */
  async rewind(target: RewindTarget): Promise<RewindPreview | null> {
    const done = await this.#managed.whileResting(async () => {
      if (this.#fence) await assertOwner(this.#shared.sql, this.#fence);
      await using cluster = this.#shared.newCluster();
      return await rewind(this.plan, target, this.#rewindDeps(cluster));
    });
    return done || null;
  }

  #rewindDeps(cluster: Cluster) {
    const { checkpoints, history, sql } = this.#shared;
    const pipeline = this.plan.name;
    return {
      cluster,
      checkpoints,
      history,
      nowMs: systemClock.now(),
      raiseGeneration: (above: number) => raiseGeneration(sql, { pipeline, above }),
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { admin, registry, config } = this.#shared;
    const onWaiting = (reason: string | null) => this.runner.setWaiting("starting", reason);
    this.runner.prepare();
    await untilAvailable(() => prepare(this.plan, { admin, registry, config }), { signal, onWaiting });
    try {
      await untilAvailable(() => this.#own(), { signal, onWaiting });
      await this.runner.run(signal);
    } catch (error) {
      throw error instanceof ConflictError ? await this.#decided(error) : error;
    }
  }

  /**
   * Of several that may write, the database says who does: a process that was replaced may still come late and take Kafka's id,
   * or the folder. What is lost in that way is taken back; what is lost in the database is lost.
   */
  async #decided(conflict: ConflictError): Promise<Error> {
    const { sql, folders } = this.#shared;
    if (this.#fence === null) return conflict;
    try {
      await assertOwner(sql, this.#fence);
    } catch (error) {
      this.#isLost = error instanceof ConflictError;
      return error as Error;
    }
    this.#publisher.renew();
    folders.release(this.plan.name);
    return new UnavailableError(
      `${conflict.message}. But the database says that this process is the newer one: taking it back`,
    );
  }

  /** Takes the pipeline over from whichever process ran it before; only once, so that a process that lost it stays out. */
  async #own(): Promise<void> {
    const { sql, checkpoints, folders } = this.#shared;
    const pipeline = this.plan.name;
    await folders.claim(pipeline);
    if (this.#fence) {
      // Somebody removed it while it rested: what is computed anew has to be newer.
      if (this.#hasSaved && await checkpoints.load(pipeline) === null) {
        this.#generation = await raiseGeneration(sql, { pipeline, above: this.#generation });
        this.#hasSaved = false;
      }
      return;
    }
    const claimed = await claimOwnership(sql, { pipeline, process: `${hostname()}:${Deno.pid}` });
    const saved = await checkpoints.load(pipeline);
    // What is computed from here on has to be newer than what is there: of a run whose checkpoint is gone, or of a process with
    // another data folder.
    const isNewest = saved ? saved.generation === claimed.generation : claimed.token === 1;
    this.#generation = isNewest
      ? claimed.generation
      : await raiseGeneration(sql, { pipeline, above: Math.max(saved?.generation ?? 0, claimed.generation) });
    this.#fence = { pipeline, token: claimed.token };
  }

  #runner(): PipelineRunner {
    const { plan } = this;
    const { hosts, newCluster, committed, checkpoints, history, config, onRows, parts } = this.#shared;
    const waiting = (part: string) => ({ onWaiting: (reason: string | null) => runner.setWaiting(part, reason) });
    const sinks = plan.sinks.map((spec) => {
      const target = spec.kind === "postgres" ? spec.table : spec.topic;
      const sink = parts.use(
        deferred(`${spec.kind}:${target}`, { connect: () => this.#openSink(spec), right: () => this.#fence }),
      );
      // Each waits by itself: an outage of one does not make the others write again.
      return withRetry(sink, waiting(`writing to ${spec.kind}`));
    });
    const { topic } = plan;
    const setAside = createSetAsideSink({ publisher: this.#publisher, log: committed, pipeline: plan.name, topic });
    const generation = () => this.#generation;
    const runner: PipelineRunner = new PipelineRunner(plan, {
      clock: systemClock,
      hosts,
      cluster: newCluster,
      sink: fanOut(sinks),
      setAside: setAsideWithRetry(setAside, waiting("setting records aside")),
      checkpoints,
      history,
      checkpointEveryMs: config.checkpointEveryMs,
      // Known once the pipeline is owned, which is before the first run.
      get generation() {
        return generation();
      },
      onRows: (rows) => onRows(plan.name, rows),
      onSaved: newestOnly((entries: readonly LedgerEntry[]) => this.#noteSaved(entries), (error) => {
        if (error instanceof ConflictError) runner.fence(error);
      }),
    });
    return runner;
  }

  /**
   * Notes the ledger where people look, and positions where consumer-group tools look. A failure is theirs only, and the next
   * call makes it good; but the ledger's may be the first to tell that another process has the pipeline.
   *
   * @throws ConflictError when it does, and others as the database refuses
   */
  async #noteSaved(entries: readonly LedgerEntry[]): Promise<void> {
    const { sql, cluster } = this.#shared;
    const { name, topic } = this.plan;
    const positions = new Map(entries.map(({ partition, position }) => [partition, position]));
    this.#hasSaved = true;
    const [ledger] = await Promise.allSettled([
      writeLedger(sql, { ...this.#fence!, topic, entries }),
      noteOffsets(cluster, `tailrace.${name}`, { topic, positions }),
    ]);
    if (ledger.status === "rejected") throw ledger.reason;
  }

  async #openSink(spec: SinkSpec): Promise<Sink> {
    const { databaseUrl, registry, committed: log } = this.#shared;
    const { plan } = this;
    const columns = resultColumns(plan);
    if (spec.kind === "kafka") {
      const publisher = this.#publisher;
      return await createKafkaSink({ publisher, log, registry, topic: spec.topic, columns, pipeline: plan.name });
    }
    await registerPipeline(this.#shared.sql, plan);
    const fence = this.#fence!;
    return await createPostgresSink({ url: databaseUrl, table: spec.table, columns, pipeline: plan.name, fence });
  }
}

/** Makes the topics a pipeline writes to, and registers the schema of what it reads. */
async function prepare(
  plan: Plan,
  { admin, registry, config }: { admin: KafkaAdmin; registry: RegistryClient; config: Config },
): Promise<void> {
  await admin.ensureTopics(topicsOf(plan, config));
  const subject = `${plan.topic}-value`;
  // A topic that others own has the schema they gave it.
  if (config.mode === "dev" || !(await registry.latest(subject))) await registry.register(subject, plan.schema);
}

/**
 * A sink that is opened at its first use, so that a pipeline can start while the other side is away; and opened anew when the
 * right to write is another one than it was opened with.
 */
function deferred(
  name: string,
  { connect, right }: { readonly connect: () => Promise<Sink>; readonly right: () => unknown },
): Sink {
  let connected: Promise<Sink> | null = null;
  let opened: Sink | null = null;
  let openedWith: unknown = null;
  const sink = async () => {
    if (connected === null) openedWith = right();
    connected ??= connect();
    return opened = await connected.catch((error) => {
      connected = null;
      throw error;
    });
  };
  return {
    name,
    resume: async (position, options) => {
      if (opened !== null && openedWith !== right()) {
        const former = opened;
        connected = opened = null;
        await former[Symbol.asyncDispose]();
      }
      await (await sink()).resume(position, options);
    },
    position: () => opened?.position() ?? null,
    write: async (rows, options) => await (await sink()).write(rows, options),
    async [Symbol.asyncDispose]() {
      await (await connected?.catch(() => null))?.[Symbol.asyncDispose]();
    },
  };
}
