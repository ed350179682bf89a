/**
 * Wires the pipelines to brokers, registry, sinks and threads, and keeps them running.
 *
 * @module
 */
import { createKafkaIngest } from "../api/kafka_ingest.ts";
import type { Ingest, LiveSource, PipelineControl, ReadyCheck } from "../api/deps.ts";
import { createBulkIngest, type RunningBulkIngest } from "../pipeline/ingest/bulk_ingest.ts";
import { FileHistoryStore } from "../pipeline/checkpoint/file_history.ts";
import { FileCheckpointStore } from "../pipeline/checkpoint/file_store.ts";
import { PipelineFolders } from "../pipeline/checkpoint/pipeline_folders.ts";
import { systemClock } from "../pipeline/clock.ts";
import { UnavailableError } from "../pipeline/errors.ts";
import { createLetters, type Letters } from "../pipeline/letters/letters.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { createCommittedLog } from "../pipeline/log/committed_log.ts";
import { LogPublisher } from "../pipeline/log/log_publisher.ts";
import { Producer } from "../pipeline/log/producer.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../pipeline/log/transactional_publisher.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import type { ConnectorControl } from "../pipeline/runtime/connector_status.ts";
import type { PipelineState, PipelineStatus } from "../pipeline/runtime/status.ts";
import { ArchiveThread } from "../pipeline/runtime/archive_thread.ts";
import type { SourceOptions } from "../pipeline/runtime/local_shard_host.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import { ThreadShardHost } from "../pipeline/runtime/thread_shard_host.ts";
import { type LakeAddress, openLakeAt } from "../pipeline/sinks/lake/lake_address.ts";
import type { CassandraSession } from "../pipeline/sinks/cassandra/session.ts";
import type { ResultRows } from "../pipeline/sinks/sink.ts";
import type { Config } from "./config.ts";
import { type BatchSummary, runBatch } from "./batch.ts";
import type { ConnectorUnit } from "./connector_unit.ts";
import { createConnectorControl } from "./connectors.ts";
import { createControl } from "./control.ts";
import type { Addresses } from "./embedded.ts";
import { type LakeWork, startLakeWork } from "./lake_work.ts";
import type { Logger } from "./log.ts";
import { PipelineUnit, type Shared } from "./pipeline_unit.ts";

const READY_TIMEOUT_MS = 3_000;
const STATE_LOOK_MS = 1_000;
/** A source of many topics tells no name of one. */
const TOPIC_NAME = /^[\w.-]+$/;
const NO_TOPIC = "none";
/** Memory of the DuckDB that writes a topic's records, and of the one for results, compaction and questions of our own. */
const ARCHIVE_MEMORY_BYTES = 1.5 * 1024 ** 3;
const LAKE_MEMORY_BYTES = 1024 ** 3;

export interface EngineOptions {
  readonly config: Config;
  readonly addresses: Addresses;
  readonly plans: readonly Plan[];
  readonly connectors: readonly ConnectorUnit[];
  readonly cassandra: CassandraSession;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The running pipelines, as the API sees them. */
export interface Engine extends AsyncDisposable {
  readonly live: LiveSource;
  readonly ingest: Ingest;
  readonly bulk: RunningBulkIngest;
  readonly letters: Letters;
  readonly control: PipelineControl;
  readonly connectors: ConnectorControl;
  readonly lake: LakeWork;
  status(): PipelineStatus[];
  ready(): Promise<ReadyCheck[]>;
  /** Resolves after the signal, when everything has stopped; false when something was given up. Of a bounded run, at its end. */
  readonly stopped: Promise<boolean>;
  /** What a bounded run did; null of one that goes on. */
  readonly summary: Promise<BatchSummary> | null;
}

/** Starts all pipelines; each waits by itself for what it needs. */
export function startEngine(options: EngineOptions): Engine {
  const { config, addresses, plans, connectors, cassandra, log, signal } = options;
  const parts = new AsyncDisposableStack();
  const clusterOptions = { clientId: "tailrace", ...config.kafka };
  const newCluster = () => new Cluster(addresses.brokers, clusterOptions);
  const cluster = parts.use(newCluster());
  const sql = postgresClient(addresses.databaseUrl, { max: 2, connect_timeout: 5, backoff: () => 0 });
  parts.defer(() => sql.end({ timeout: 1 }));
  // Not the signal of the stop, which lets what is being written end.
  const ended = new AbortController();
  parts.defer(() => ended.abort(new UnavailableError("the engine was ended")));
  const producer = new Producer(cluster, { clock: systemClock, signal: ended.signal, acks: -1 });
  const registry = createRegistryClient({ url: addresses.registryUrl });
  const committed = createCommittedLog(cluster, { clock: systemClock });
  const publisher = (transactionalId: string) =>
    createTransactionalPublisher(cluster, { transactionalId, clock: systemClock, signal: ended.signal });
  const source = { brokers: addresses.brokers, cluster: clusterOptions, registry: { url: addresses.registryUrl } };
  const hosts = Array.from({ length: config.workers }, () => parts.use(new ThreadShardHost(source)));
  const folders = new PipelineFolders(`${config.dataDir}/checkpoints`);
  const listeners = new Set<(pipeline: string, rows: ResultRows) => void>();
  const address = { ...config.lake, dataDir: config.dataDir };
  const lake = parts.use(openLakeAt({ ...address, memoryBytesMax: LAKE_MEMORY_BYTES, threads: 2 }));
  const shared: Shared = {
    config,
    log,
    lake,
    cassandra,
    databaseUrl: addresses.databaseUrl,
    sql,
    admin: new KafkaAdmin(addresses.brokers, config.kafka, "tailrace-admin"),
    registry,
    committed,
    publisher,
    newCluster,
    cluster,
    hosts,
    checkpoints: new FileCheckpointStore(folders),
    history: new FileHistoryStore(folders),
    folders,
    onRows: (pipeline, rows) => listeners.forEach((listener) => listener(pipeline, rows)),
    parts,
  };
  // Of its own: what is sent by the megabyte holds up nothing else.
  const bulkCluster = parts.use(newCluster());
  const bulk = createBulkIngest({
    cluster: bulkCluster,
    publishers: (transactionalId) =>
      createTransactionalPublisher(bulkCluster, { transactionalId, clock: systemClock, signal: ended.signal }),
    log: createCommittedLog(bulkCluster, { clock: systemClock }),
    registry,
    ensureTopics: (topics) => shared.admin.ensureTopics(topics),
    clock: systemClock,
    limits: config.bulk,
  });
  const units = plans.map((plan) => new PipelineUnit(plan, shared));
  parts.defer(async () => void await Promise.allSettled([...units, ...connectors].map((unit) => unit.close())));
  const runners = units.map(({ runner }) => runner);
  const archiveAddress = { ...address, memoryBytesMax: ARCHIVE_MEMORY_BYTES, threads: 2 };
  const archives = startArchives(plans, { source, lake: archiveAddress, log });
  // All at once, and beside the pipelines: each may take a moment for what is not in its table yet.
  const endArchives = () => Promise.all(archives.map((archive) => archive[Symbol.asyncDispose]()));
  parts.defer(async () => void await endArchives());
  signal.addEventListener("abort", () => void endArchives(), { once: true });
  // One that is there or is made: what is asked of it is only whether anybody answers.
  const named = connectors.map((unit) => unit.status().topic).find((topic) => TOPIC_NAME.test(topic));
  const topic = plans[0]?.topic ?? named ?? NO_TOPIC;
  const letters = createLetters({ log: committed, publishers: publisher, registry, plans, clock: systemClock });
  const lakeWork = startLakeWork({ shared, address, archives, units, letters, signal });
  parts.defer(async () => void await lakeWork.stopped);
  const tasks = [...units, ...connectors];
  const states = () => [
    ...runners.map((runner) => ({ what: "pipeline", ...runner.status() })),
    ...connectors.map((unit) => unit.status()).map((status) => ({ what: status.kind, ...status })),
  ];
  parts.defer(logStates(states, log));
  const { until } = config;
  if (until === null) parts.defer(recoverBulk(bulk, { log, signal }));
  const summary = until === null ? null : runBatch({
    units,
    connectors,
    archives,
    until,
    isNamed: config.pipelines.length > 0,
    afterwards: config.afterwards,
    lake: lakeWork,
    clock: systemClock,
    signal,
    log: (line) => log.warn(line),
  });
  const stopped = summary?.then(({ ok }) => ok) ??
    Promise.all(tasks.map((task) => task.run(signal))).then(() => !tasks.some(({ isGivenUp }) => isGivenUp));
  return {
    live: {
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    ingest: createKafkaIngest({ cluster, publisher: new LogPublisher(producer), registry, clock: systemClock }),
    bulk,
    letters,
    control: createControl(units),
    connectors: createConnectorControl(connectors),
    lake: lakeWork,
    status: () => runners.map((runner) => runner.status()),
    ready: () =>
      Promise.all([
        check("kafka", async () => `${(await cluster.leaders(topic))?.leaders.length ?? 0} partitions of ${topic}`),
        check("schema registry", async () =>
          (await registry.latest(`${topic}-value`)) ? "answers" : "answers; no schema yet"),
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
    summary,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** One archive for each topic that a definition archives. */
function startArchives(
  plans: readonly Plan[],
  { source, lake, log }: { source: SourceOptions; lake: LakeAddress; log: Logger },
): ArchiveThread[] {
  const byTopic = new Map(plans.filter(({ archive }) => archive).map((plan) => [plan.topic, plan]));
  return Array.from(byTopic.values(), (plan) => {
    const { topic, schema } = plan;
    const task = { topic, schema, ...plan.archive!, eventTime: plan.fields[plan.eventTime].path, ...source };
    return new ArchiveThread(task, { lake, log: (level, message) => log[level](message) });
  });
}

/** Ends what bulk requests left open when the last process was killed; returns what waits for the end of it. */
function recoverBulk(
  bulk: RunningBulkIngest,
  { log, signal }: { log: Logger; signal: AbortSignal },
): () => Promise<void> {
  // That Kafka is away the pipelines say.
  const recovery = supervise("bulk requests", (until) => bulk.recover(until), {
    clock: systemClock,
    signal,
    log: (level, message) => level === "error" && log.error(message),
  });
  return async () => void await recovery;
}

interface TaskState {
  readonly what: string;
  readonly name: string;
  readonly state: PipelineState;
  readonly reason: string | null;
}

/** Says in the log when something begins to wait and when it goes on; returns what ends that. */
function logStates(states: () => readonly TaskState[], log: Logger): () => void {
  const waiting = new Set<string>();
  const timer = setInterval(() => {
    for (const { what, name, state, reason } of states()) {
      if (state === "waiting" && !waiting.has(name)) {
        waiting.add(name);
        log.warn(`${what} ${name} waits: ${reason}`);
      } else if (state === "running" && waiting.delete(name)) {
        log.info(`${what} ${name} goes on`);
      }
    }
  }, STATE_LOOK_MS);
  return () => clearInterval(timer);
}

async function askPostgres(url: string): Promise<string> {
  const sql = postgresClient(url, { connect_timeout: 2, backoff: () => 0 });
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
