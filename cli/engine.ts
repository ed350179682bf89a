/**
 * Wires the pipelines to brokers, registry, sinks and threads, and keeps them running.
 *
 * @module
 */
import postgres from "postgres";
import { createKafkaIngest } from "../api/kafka_ingest.ts";
import type { Ingest, LiveSource, ReadyCheck } from "../api/deps.ts";
import { FileCheckpointStore } from "../pipeline/checkpoint/file_store.ts";
import { systemClock } from "../pipeline/clock.ts";
import { UnavailableError } from "../pipeline/errors.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { createCommittedLog } from "../pipeline/log/committed_log.ts";
import { LogPublisher } from "../pipeline/log/log_publisher.ts";
import { Producer } from "../pipeline/log/producer.ts";
import { createRegistryClient, type RegistryClient } from "../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../pipeline/log/transactional_publisher.ts";
import type { CommittedLog, TransactionalPublisher } from "../pipeline/log/transactions.ts";
import { type Plan, resultColumns, type SinkSpec } from "../pipeline/plan/plan.ts";
import { PipelineRunner } from "../pipeline/runtime/pipeline_runner.ts";
import type { PipelineStatus } from "../pipeline/runtime/status.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import { ThreadShardHost } from "../pipeline/runtime/thread_shard_host.ts";
import { fanOut } from "../pipeline/sinks/fan_out.ts";
import { createKafkaSink } from "../pipeline/sinks/kafka.ts";
import { claimOwnership, type Fence } from "../pipeline/sinks/ownership.ts";
import { registerPipeline } from "../pipeline/sinks/pipeline_registry.ts";
import { createPostgresSink } from "../pipeline/sinks/postgres.ts";
import { setAsideWithRetry, untilAvailable, withRetry } from "../pipeline/sinks/retry.ts";
import { createSetAsideSink } from "../pipeline/sinks/set_aside.ts";
import type { ResultRows, Sink } from "../pipeline/sinks/sink.ts";
import type { Config } from "./config.ts";
import type { Addresses } from "./embedded.ts";
import type { Logger } from "./log.ts";
import { topicsOf } from "./topics.ts";

const READY_TIMEOUT_MS = 3_000;
const STATE_LOOK_MS = 1_000;

export interface EngineOptions {
  readonly config: Config;
  readonly addresses: Addresses;
  readonly plans: readonly Plan[];
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The running pipelines, as the API sees them. */
export interface Engine extends AsyncDisposable {
  readonly live: LiveSource;
  readonly ingest: Ingest;
  status(): PipelineStatus[];
  ready(): Promise<ReadyCheck[]>;
  /** Resolves when every pipeline has stopped; false when one was given up. */
  readonly stopped: Promise<boolean>;
}

/** Starts all pipelines; each waits by itself for what it needs. */
export function startEngine(options: EngineOptions): Engine {
  const { config, addresses, plans, log, signal } = options;
  const parts = new AsyncDisposableStack();
  const clusterOptions = { clientId: "tailrace", ...config.kafka };
  const newCluster = () => new Cluster(addresses.brokers, clusterOptions);
  const cluster = parts.use(newCluster());
  // Not the signal of the stop, which lets what is being written end.
  const ended = new AbortController();
  parts.defer(() => ended.abort(new UnavailableError("the engine was ended")));
  const producer = new Producer(cluster, { clock: systemClock, signal: ended.signal, acks: -1 });
  const publisher = new LogPublisher(producer);
  const registry = createRegistryClient({ url: addresses.registryUrl });
  const admin = new KafkaAdmin(addresses.brokers, config.kafka, "tailrace-admin");
  const source = { brokers: addresses.brokers, cluster: clusterOptions, registry: { url: addresses.registryUrl } };
  const hosts = Array.from({ length: config.workers }, () => parts.use(new ThreadShardHost(source)));
  const checkpoints = new FileCheckpointStore(`${config.dataDir}/checkpoints`);
  const listeners = new Set<(pipeline: string, rows: ResultRows) => void>();

  const run = async (plan: Plan, runner: PipelineRunner, until: AbortSignal) => {
    const onWaiting = (reason: string | null) => runner.setWaiting("starting", reason);
    await untilAvailable(() => prepare(plan, { admin, registry, config }), { signal: until, onWaiting });
    await runner.run(until);
  };
  const committed = createCommittedLog(cluster, { clock: systemClock });
  const runners = plans.map((plan) => {
    const transactions = createTransactionalPublisher(cluster, {
      transactionalId: `tailrace.${plan.name}`,
      clock: systemClock,
      signal: ended.signal,
    });
    const claim = once(() => takeOver(plan, addresses.databaseUrl));
    const to = { publisher: transactions, log: committed, registry, claim, ...addresses };
    const waiting = (part: string) => ({ onWaiting: (reason: string | null) => runner.setWaiting(part, reason) });
    const sinks = plan.sinks.map((spec) => {
      const sink = parts.use(deferred(`${spec.kind} of ${plan.name}`, () => openSink(plan, spec, to)));
      // Each waits by itself: an outage of one does not make the others write again.
      return withRetry(sink, waiting(`writing to ${spec.kind}`));
    });
    const setAside = createSetAsideSink({ ...to, pipeline: plan.name, topic: plan.topic });
    const runner: PipelineRunner = new PipelineRunner(plan, {
      clock: systemClock,
      hosts,
      cluster: newCluster,
      sink: fanOut(sinks),
      setAside: setAsideWithRetry(setAside, waiting("setting records aside")),
      checkpoints,
      checkpointEveryMs: config.checkpointEveryMs,
      onRows: (rows) => listeners.forEach((listener) => listener(plan.name, rows)),
      onSaved: offsetNoter(admin, plan),
    });
    return runner;
  });
  parts.defer(logStates(runners, log));
  const stopped = Promise.all(
    runners.map((runner) =>
      supervise(`pipeline ${runner.plan.name}`, (until) => run(runner.plan, runner, until), {
        clock: systemClock,
        signal,
        log: (level, message) => log[level](message),
      })
    ),
  ).then((ended) => ended.every(Boolean));

  return {
    live: {
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    ingest: createKafkaIngest({ cluster, publisher, registry, clock: systemClock }),
    status: () => runners.map((runner) => runner.status()),
    ready: () =>
      Promise.all([
        check("kafka", async () =>
          `${(await cluster.leaders(plans[0].topic))?.leaders.length ?? 0} partitions of ${plans[0].topic}`),
        check("schema registry", async () =>
          (await registry.latest(`${plans[0].topic}-value`)) ? "answers" : "answers; no schema yet"),
        check("postgres", () =>
          askPostgres(addresses.databaseUrl)),
        ...runners.map((runner) =>
          // deno-lint-ignore require-await -- the other checks are asynchronous
          check(`pipeline ${runner.plan.name}`, async () => {
            const { state, reason } = runner.status();
            if (state !== "running") {
              throw new Error(reason ?? state);
            }
            return state;
          })
        ),
      ]),
    stopped,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Says in the log when a pipeline begins to wait and when it goes on; returns what ends that. */
function logStates(runners: readonly PipelineRunner[], log: Logger): () => void {
  const waiting = new Set<string>();
  const timer = setInterval(() => {
    for (const { name, state, reason } of runners.map((runner) => runner.status())) {
      if (state === "waiting" && !waiting.has(name)) {
        waiting.add(name);
        log.warn(`pipeline ${name} waits: ${reason}`);
      } else if (state === "running" && waiting.delete(name)) {
        log.info(`pipeline ${name} goes on`);
      }
    }
  }, STATE_LOOK_MS);
  return () => clearInterval(timer);
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

/** What sinks are opened with. */
interface Destinations {
  readonly publisher: TransactionalPublisher;
  readonly log: CommittedLog;
  readonly registry: RegistryClient;
  readonly databaseUrl: string;
  /** Takes the pipeline over in the database, once. */
  readonly claim: () => Promise<Fence>;
}

async function openSink(plan: Plan, spec: SinkSpec, to: Destinations): Promise<Sink> {
  const columns = resultColumns(plan);
  if (spec.kind === "kafka") return await createKafkaSink({ ...to, topic: spec.topic, columns, pipeline: plan.name });
  const fence = await to.claim();
  return await createPostgresSink({ url: to.databaseUrl, table: spec.table, columns, pipeline: plan.name, fence });
}

/** Notes in the database that this process runs the pipeline; of one that ran it until now nothing is written any more. */
async function takeOver(plan: Plan, databaseUrl: string): Promise<Fence> {
  const sql = postgres(databaseUrl, { max: 1, connect_timeout: 5, onnotice: () => {}, backoff: () => 0 });
  try {
    const process = `${Deno.hostname()}:${Deno.pid}`;
    const { token } = await claimOwnership(sql, { pipeline: plan.name, process });
    await registerPipeline(sql, plan);
    return { pipeline: plan.name, token };
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** What `make` gives, made at the first call and again only when that failed. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make().catch((error) => {
      made = null;
      throw error;
    });
    return made;
  };
}

/** A sink that is opened at the first write, so that a pipeline can start while the other side is away. */
function deferred(name: string, connect: () => Promise<Sink>): Sink {
  const connected = once(connect);
  let opening: Promise<Sink> | null = null;
  let opened: Sink | null = null;
  const sink = async () => opened = await (opening = connected());
  return {
    name,
    resume: async (position, options) => await (await sink()).resume(position, options),
    position: () => opened?.position() ?? null,
    write: async (rows, options) => await (await sink()).write(rows, options),
    async [Symbol.asyncDispose]() {
      await (await opening?.catch(() => null))?.[Symbol.asyncDispose]();
    },
  };
}

/**
 * Notes positions in the group that tools look at, one call at a time and the newest last; a failure is the tools' loss only,
 * and the next call makes it good.
 */
function offsetNoter(admin: KafkaAdmin, plan: Plan): (positions: ReadonlyMap<number, number>) => void {
  let newest: ReadonlyMap<number, number> | null = null;
  let busy = false;
  const note = async () => {
    busy = true;
    while (newest) {
      const positions = newest;
      newest = null;
      await admin.noteOffsets(`tailrace.${plan.name}`, plan.topic, positions).catch(() => {});
    }
    busy = false;
  };
  return (positions) => {
    newest = positions;
    if (!busy) void note();
  };
}

async function askPostgres(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {}, backoff: () => 0 });
  try {
    const [{ version }] = await sql`SELECT current_setting('server_version') AS version`;
    return `PostgreSQL ${version}`;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function check(name: string, look: () => Promise<string>): Promise<ReadyCheck> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) =>
    timer = setTimeout(() => reject(new Error("does not answer")), READY_TIMEOUT_MS)
  );
  try {
    return { name, ready: true, detail: await Promise.race([look(), late]) };
  } catch (error) {
    return { name, ready: false, detail: (error as Error).message };
  } finally {
    clearTimeout(timer);
  }
}
