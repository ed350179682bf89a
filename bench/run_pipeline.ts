import { projectPath } from "../cli/paths.ts";
import { FileHistoryStore } from "../pipeline/checkpoint/file_history.ts";
import { PipelineFolders } from "../pipeline/checkpoint/pipeline_folders.ts";
import { FileCheckpointStore } from "../pipeline/checkpoint/file_store.ts";
import { systemClock } from "../pipeline/clock.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { type Plan, resultColumns } from "../pipeline/plan/plan.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { PipelineRunner } from "../pipeline/runtime/pipeline_runner.ts";
import { ThreadShardHost } from "../pipeline/runtime/thread_shard_host.ts";
import { migrate } from "../pipeline/sinks/migrate.ts";
import { claimOwnership, type Fence } from "../pipeline/sinks/ownership.ts";
import { createPostgresSink } from "../pipeline/sinks/postgres.ts";
import { NO_POSITION, type ResultRows } from "../pipeline/sinks/sink.ts";
import { NO_SECURITY, type Servers } from "./servers.ts";

export interface RunningPipeline {
  readonly runner: PipelineRunner;
  stop(): Promise<void>;
}

const WORKERS = 2;

/**
 * Runs a plan as `tailrace run` does: two worker threads, checkpoints, an owner, results in PostgreSQL.
 *
 * @param options.checkpointEveryMs 5 s as users have it; Infinity saves only at the start and the end
 */
export async function runPipeline(
  servers: Servers,
  plan: Plan,
  { onRows, checkpointEveryMs = 5_000 }: {
    readonly onRows: (rows: ResultRows) => void;
    readonly checkpointEveryMs?: number;
  },
): Promise<RunningPipeline> {
  const parts = new AsyncDisposableStack();
  const cluster = { clientId: "tailrace-bench", ...NO_SECURITY };
  const source = { brokers: servers.brokers, cluster, registry: { url: servers.registryUrl } };
  const [{ table }] = plan.sinks.filter((sink) => sink.kind === "postgres");
  const columns = resultColumns(plan);
  const fence = await ownerOf(plan.name, servers.databaseUrl);
  const sink = parts.use(
    await createPostgresSink({ url: servers.databaseUrl, table, columns, pipeline: plan.name, fence }),
  );
  const folders = new PipelineFolders(`${servers.folder}/checkpoints-${plan.name}-${Date.now()}`);
  const runner = new PipelineRunner(plan, {
    clock: systemClock,
    hosts: Array.from({ length: WORKERS }, () => parts.use(new ThreadShardHost(source))),
    cluster: () => new Cluster(servers.brokers, cluster),
    sink,
    setAside: {
      ...NO_POSITION,
      write: (records) => Promise.reject(new Error(`${records.length} records were set aside: ${records[0].reason}`)),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    checkpoints: new FileCheckpointStore(folders),
    history: new FileHistoryStore(folders),
    generation: 0,
    checkpointEveryMs,
    onRows,
    onSaved: () => {},
  });
  const stop = new AbortController();
  const running = runner.run(stop.signal);
  running.catch(() => {});
  return {
    runner,
    async stop() {
      stop.abort(new DOMException("the measurement is over", "AbortError"));
      await running;
      await parts.disposeAsync();
    },
  };
}

async function ownerOf(pipeline: string, databaseUrl: string): Promise<Fence> {
  const sql = postgresClient(databaseUrl);
  try {
    await migrate(sql, projectPath("migrations"));
    const { token } = await claimOwnership(sql, { pipeline, process: `bench:${Deno.pid}` });
    return { pipeline, token };
  } finally {
    await sql.end();
  }
}
