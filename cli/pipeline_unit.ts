/**
 * One pipeline of this process with all that belongs to it: its right to write, its sinks, its runner, and what can be asked of
 * it and done to it by hand.
 *
 * @module
 */
import { hostname } from "node:os";
import type postgres from "postgres";
import type { CheckpointStore } from "../pipeline/checkpoint/checkpoint.ts";
import type { PipelineFolders } from "../pipeline/checkpoint/pipeline_folders.ts";
import type { HistoryStore } from "../pipeline/checkpoint/history.ts";
import { systemClock } from "../pipeline/clock.ts";
import { ConfigError, ConflictError, UnavailableError } from "../pipeline/errors.ts";
import type { KafkaAdmin } from "../pipeline/log/admin.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import { RenewablePublisher } from "../pipeline/log/renewable_publisher.ts";
import { noteOffsets } from "../pipeline/log/group_offsets.ts";
import type { RegistryClient } from "../pipeline/log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../pipeline/log/transactions.ts";
import { type Plan, type ResultColumn, resultColumns, type SinkSpec, targetOf } from "../pipeline/plan/plan.ts";
import type { Until } from "../pipeline/runtime/bounds.ts";
import { explain, type Explanation } from "../pipeline/runtime/explain.ts";
import { ManagedTask } from "../pipeline/runtime/managed_task.ts";
import { PipelineRunner } from "../pipeline/runtime/pipeline_runner.ts";
import { previewRewind, rewind, type RewindPreview, type RewindTarget } from "../pipeline/runtime/rewind.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import type { ShardHost } from "../pipeline/runtime/shard_host.ts";
import type { LedgerEntry } from "../pipeline/ledger.ts";
import { fanOut } from "../pipeline/sinks/fan_out.ts";
import { createLakeSink, type LakeSink } from "../pipeline/sinks/lake/results/lake_sink.ts";
import type { Lake } from "../pipeline/sinks/lake/lake.ts";
import { createKafkaSink } from "../pipeline/sinks/kafka.ts";
import { assertOwner, claimOwnership, type Fence, raiseGeneration } from "../pipeline/sinks/ownership.ts";
import { registerPipeline } from "../pipeline/sinks/pipeline_registry.ts";
import { missingCassandra, missingFault } from "../pipeline/sinks/cassandra/options.ts";
import type { CassandraSession } from "../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../pipeline/sinks/cassandra/sink.ts";
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
  readonly lake: Lake;
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
  /** Where the process has one. */
  readonly cassandra?: CassandraSession;
  readonly onRows: (pipeline: string, rows: ResultRows) => void;
  /** What to close at the end. */
  readonly parts: AsyncDisposableStack;
}

/** A pipeline that runs, or rests, in this process. */
export class PipelineUnit {
  readonly plan: Plan;
  readonly runner: PipelineRunner;
  /** To all its destinations; each write waits while one is away. */
  readonly sink: Sink;
  readonly #shared: Shared;
  readonly #managed: ManagedTask;
  readonly #publisher: RenewablePublisher;
  /** Taken once: whoever took the pipeline over since has it. */
  #fence: Fence | null = null;
  #generation = 0;
  /** Another process took it over. */
  #isLost = false;
  readonly #sinks: Sink[] = [];
  #closed: Promise<unknown> | null = null;
  /** Null while it has none, or none was needed yet. */
  #lakeSink: LakeSink | null = null;
  /** Whether this process saved a checkpoint, so that there has to be one. */
  #hasSaved = false;

  constructor(plan: Plan, shared: Shared) {
    this.plan = plan;
    this.#shared = shared;
    this.#publisher = new RenewablePublisher(() => shared.publisher(`tailrace.${plan.name}`));
    this.sink = this.#sink();
    this.runner = this.#runner();
    const missing = this.missing();
    this.#managed = new ManagedTask(plan.name, {
      // Whoever has not configured a destination does not want it, or not yet.
      isAtRest: missing !== null,
      clock: systemClock,
      log: (level, message) => shared.log[level](message),
      run: (signal) => this.#run(signal),
      onRest: () => this.runner.rest(),
    });
    if (missing !== null) this.runner.rest(missing);
  }

  /** What has to be set before it can run, in words; null when nothing is missing. */
  missing(): string | null {
    return missingCassandra(this.plan.sinks, this.#shared.cassandra);
  }

  /** Keeps it running until the signal, or as commanded; then closes its sinks. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#managed.run(signal);
    await this.close();
  }

  /**
   * Runs once over what is there, trying again while others are away.
   *
   * @returns false when it was given up
   */
  async runBounded(signal: AbortSignal, until: Until): Promise<boolean> {
    const { log } = this.#shared;
    return await supervise(`pipeline ${this.plan.name}`, (ending) => this.#run(ending, until), {
      clock: systemClock,
      signal,
      log: (level, message) => log[level](message),
    });
  }

  /** Closes its sinks. */
  async close(): Promise<void> {
    this.#closed ??= Promise.all(this.#sinks.map((sink) => sink[Symbol.asyncDispose]()));
    await this.#closed;
  }

  /** Null until it is first needed. */
  get lakeSink(): LakeSink | null {
    return this.#lakeSink;
  }

  /** The table of the lake that results go to; null when they go to none. */
  get lakeTable(): string | null {
    return this.plan.sinks.find((sink) => sink.kind === "lake")?.table ?? null;
  }

  /** Its right to write; null while it has none. */
  get fence(): Fence | null {
    return this.#fence;
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

  /**
   * Does something that only its owner may do, while it rests; null when it is running.
   *
   * @throws ConflictError when another process has taken the pipeline over
   */
  async whileOwned<T>(work: () => Promise<T>): Promise<T | null> {
    const done = await this.#managed.whileResting(async () => {
      const { admin, registry, config, sql } = this.#shared;
      await prepare(this.plan, { admin, registry, config });
      await this.#own();
      await assertOwner(sql, this.#fence!);
      return { result: await work() };
    });
    return done ? done.result : null;
  }

  /** A generation above this one and all there were: what it computes from now on has it, too. */
  async raiseGeneration(above: number): Promise<number> {
    const pipeline = this.plan.name;
    const least = Math.max(above, this.#generation);
    return this.#generation = await raiseGeneration(this.#shared.sql, { pipeline, above: least });
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

  async #run(signal: AbortSignal, until?: Until): Promise<void> {
    const { admin, registry, config } = this.#shared;
    const onWaiting = (reason: string | null) => this.runner.setWaiting("starting", reason);
    this.runner.prepare();
    await untilAvailable(() => prepare(this.plan, { admin, registry, config }), { signal, onWaiting });
    try {
      await untilAvailable(() => this.#own(), { signal, onWaiting });
      await this.runner.run(signal, { until });
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

  #sink(): Sink {
    return fanOut(this.plan.sinks.map((spec) => {
      const sink = deferred(`${spec.kind}:${targetOf(spec)}`, {
        connect: () => this.#openSink(spec),
        right: () => this.#fence,
      });
      this.#sinks.push(sink);
      const onWaiting = (reason: string | null) => this.runner.setWaiting(`writing to ${spec.kind}`, reason);
      // Each waits by itself: an outage of one does not make the others write again.
      return withRetry(sink, { onWaiting });
    }));
  }

  #runner(): PipelineRunner {
    const { plan, sink } = this;
    const { hosts, newCluster, committed, checkpoints, history, config, onRows } = this.#shared;
    const waiting = (part: string) => ({ onWaiting: (reason: string | null) => runner.setWaiting(part, reason) });
    const { topic } = plan;
    const setAside = createSetAsideSink({ publisher: this.#publisher, log: committed, pipeline: plan.name, topic });
    const generation = () => this.#generation;
    const runner: PipelineRunner = new PipelineRunner(plan, {
      clock: systemClock,
      hosts,
      cluster: newCluster,
      sink,
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
    if (spec.kind === "lake") return this.#lakeSink = this.#openLakeSink(spec, columns);
    if (spec.kind === "cassandra") return await this.#openCassandraSink(spec, columns);
    await registerPipeline(this.#shared.sql, plan);
    const fence = this.#fence!;
    return await createPostgresSink({ url: databaseUrl, table: spec.table, columns, pipeline: plan.name, fence });
  }

  /**
   * Cassandra cannot tell an older owner's writes from a newer one's: who owns the pipeline is asked before each, and what comes late
   * all the same is older by its timestamp.
   */
  async #openCassandraSink(
    { table, keyspace, ttlSeconds }: Extract<SinkSpec, { kind: "cassandra" }>,
    columns: readonly ResultColumn[],
  ): Promise<Sink> {
    const { cassandra, sql, log } = this.#shared;
    const missing = this.missing();
    if (cassandra === undefined || missing !== null) throw new ConfigError(missingFault());
    const fence = this.#fence!;
    return await createCassandraSink({
      session: cassandra,
      table,
      keyspace,
      ttlSeconds,
      columns,
      of: `Results of the pipeline ${this.plan.name}: one row per key and window.`,
      assertOwner: () => assertOwner(sql, fence),
      log: (level, message) => log[level](message),
    });
  }

  #openLakeSink({ table, flush }: Extract<SinkSpec, { kind: "lake" }>, columns: readonly ResultColumn[]): LakeSink {
    const { lake, config } = this.#shared;
    const pipeline = this.plan.name;
    const folder = `${config.dataDir}/journals/${pipeline}/${table}`;
    // While rows wait in the journal the pipeline goes on: the lake's own page says what they wait for.
    return createLakeSink({ lake, table, columns, pipeline, flush, folder });
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
