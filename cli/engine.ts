/**
 * Wires the pipelines to brokers, registry, sinks and threads, and keeps them running.
 *
 * @module
 */
import postgres from "postgres";
import { createKafkaIngest } from "../api/kafka_ingest.ts";
import type { Ingest, LiveSource, PipelineControl, ReadyCheck } from "../api/deps.ts";
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
import type { PipelineRunner } from "../pipeline/runtime/pipeline_runner.ts";
import type { PipelineStatus } from "../pipeline/runtime/status.ts";
import { ThreadShardHost } from "../pipeline/runtime/thread_shard_host.ts";
import type { ResultRows } from "../pipeline/sinks/sink.ts";
import type { Config } from "./config.ts";
import { createControl } from "./control.ts";
import type { Addresses } from "./embedded.ts";
import type { Logger } from "./log.ts";
import { PipelineUnit, type Shared } from "./pipeline_unit.ts";

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
  readonly letters: Letters;
  readonly control: PipelineControl;
  status(): PipelineStatus[];
  ready(): Promise<ReadyCheck[]>;
  /** Resolves after the signal, when every pipeline has stopped; false when one was given up. */
  readonly stopped: Promise<boolean>;
}

/** Starts all pipelines; each waits by itself for what it needs. */
export function startEngine(options: EngineOptions): Engine {
  const { config, addresses, plans, log, signal } = options;
  const parts = new AsyncDisposableStack();
  const clusterOptions = { clientId: "tailrace", ...config.kafka };
  const newCluster = () => new Cluster(addresses.brokers, clusterOptions);
  const cluster = parts.use(newCluster());
  const sql = postgres(addresses.databaseUrl, { max: 2, connect_timeout: 5, onnotice: () => {}, backoff: () => 0 });
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
  const shared: Shared = {
    config,
    log,
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
  const units = plans.map((plan) => new PipelineUnit(plan, shared));
  const runners = units.map(({ runner }) => runner);
  parts.defer(logStates(runners, log));
  const stopped = Promise.all(units.map((unit) => unit.run(signal))).then(() =>
    !units.some(({ isGivenUp }) => isGivenUp)
  );
  return {
    live: {
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    ingest: createKafkaIngest({ cluster, publisher: new LogPublisher(producer), registry, clock: systemClock }),
    letters: createLetters({ log: committed, publishers: publisher, registry, plans, clock: systemClock }),
    control: createControl(units),
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
