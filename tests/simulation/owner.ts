/**
 * One process that runs the pipeline: the real engine, stores and sinks, on a machine, a network and a clock that the simulation
 * owns.
 *
 * @module
 */
import { FileHistoryStore } from "../../pipeline/checkpoint/file_history.ts";
import { FileCheckpointStore } from "../../pipeline/checkpoint/file_store.ts";
import { PipelineFolders } from "../../pipeline/checkpoint/pipeline_folders.ts";
import type { Cluster } from "../../pipeline/log/cluster.ts";
import { type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import { PipelineRunner } from "../../pipeline/runtime/pipeline_runner.ts";
import { supervise } from "../../pipeline/runtime/supervisor.ts";
import { fanOut } from "../../pipeline/sinks/fan_out.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import { setAsideWithRetry, untilAvailable, withRetry } from "../../pipeline/sinks/retry.ts";
import { createSetAsideSink } from "../../pipeline/sinks/set_aside.ts";
import type { Lineage } from "./lineage.ts";
import { RESULTS, TOPIC } from "./plans.ts";
import type { Random } from "./random.ts";
import type { SimDisk } from "./sim_disk.ts";
import type { SimKafka } from "./sim_kafka.ts";
import { type SimPostgres, SimPostgresSink } from "./sim_postgres.ts";
import type { SimProcess } from "./sim_process.ts";
import { SimCommittedLog, SimPublisher } from "./sim_publisher.ts";
import { SimShardHost } from "./sim_shard_host.ts";
import type { SourcePartition } from "./source_log.ts";

/** What outlives processes. */
export interface Surroundings {
  readonly source: readonly SourcePartition[];
  readonly kafka: SimKafka;
  readonly postgres: SimPostgres;
  readonly disk: SimDisk;
  readonly lineage: Lineage;
}

export interface OwnerOptions {
  readonly plan: Plan;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly checkpointEveryMs: number;
  readonly hosts: number;
  readonly openWindowsMax: number;
  readonly log: (message: string) => void;
  readonly onRunner: (runner: PipelineRunner) => void;
}

const RETRY_MS_MAX = 1_000;

/** Runs the pipeline in a process; resolves with false when it was given up. */
export async function runOwner(process: SimProcess, around: Surroundings, options: OwnerOptions): Promise<boolean> {
  const { plan, random, signal } = options;
  const { clock } = process;
  const retry = { clock, random: () => random.unit(), delayMsMax: RETRY_MS_MAX };
  const folders = new PipelineFolders("d", around.disk.view((what) => process.diskPoint(what)));
  const publisher = new SimPublisher(around.kafka, process, `tailrace.${plan.name}`);
  const log = new SimCommittedLog(around.kafka, process);
  const owned = await untilAvailable(() => {
    // A statement is not run again by itself.
    let claimed: ReturnType<SimPostgres["own"]> | null = null;
    return process.call("postgres", "to own the pipeline", () => claimed ??= around.postgres.own());
  }, { ...retry, signal }).catch((error) => {
    if (signal.aborted) return null;
    throw error;
  });
  if (owned === null) return true;
  const { token, generation } = owned;
  const registry = { register: () => Promise.resolve(7) };
  const columns = resultColumns(plan);
  const sinks = [
    new SimPostgresSink(around.postgres, process, token),
    await createKafkaSink({ publisher, log, registry, topic: RESULTS, columns, pipeline: plan.name, clock }),
  ];
  const runner = new PipelineRunner(plan, {
    clock,
    hosts: Array.from({ length: options.hosts }, () => new SimShardHost(around.source, process, random.fork())),
    cluster: () => clusterOf(process, around.source),
    sink: fanOut(sinks.map((sink) => withRetry(sink, retry))),
    setAside: setAsideWithRetry(createSetAsideSink({ publisher, log, pipeline: plan.name, topic: TOPIC }), retry),
    checkpoints: around.lineage.watch(new FileCheckpointStore(folders), process.name),
    history: new FileHistoryStore(folders),
    checkpointEveryMs: options.checkpointEveryMs,
    generation,
    openWindowsMax: options.openWindowsMax,
    onRows: () => {},
    onSaved: () => {},
  });
  options.onRunner(runner);
  const run = async (until: AbortSignal) => {
    await folders.claim(plan.name);
    await runner.run(until);
  };
  return await supervise("pipeline", run, {
    clock,
    signal,
    log: (_, message) => options.log(message),
  });
}

function clusterOf(process: SimProcess, source: readonly SourcePartition[]): Cluster {
  return {
    leaders: () => process.call("kafka", "who leads", () => ({ topic: TOPIC, id: null, leaders: source.map(() => 1) })),
    offsets: (_: string, partitions: readonly number[], position: "earliest" | "latest") =>
      process.call(
        "kafka",
        `for the ${position} offsets`,
        () => new Map(partitions.map((partition) => [partition, position === "earliest" ? 0 : source[partition].end])),
      ),
    close: () => Promise.resolve(),
    // Boundary: the runner uses these three methods of the class, which cannot be made without a broker.
  } as unknown as Cluster;
}
