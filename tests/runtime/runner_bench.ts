import type { Checkpoint, CheckpointStore } from "../../pipeline/checkpoint/checkpoint.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import type { Cluster } from "../../pipeline/log/cluster.ts";
import { OffsetOutOfRangeError } from "../../pipeline/log/fetcher.ts";
import { type AvroSchema, type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import { PipelineRunner, type RunnerDeps } from "../../pipeline/runtime/pipeline_runner.ts";
import type { ExplainDeps } from "../../pipeline/runtime/explain.ts";
import { REDRIVE_ATTEMPT, REDRIVE_OFFSET, REDRIVE_PIPELINE } from "../../pipeline/runtime/redrive_headers.ts";
import { Shard } from "../../pipeline/runtime/shard.ts";
import type { ShardEvents, ShardHost } from "../../pipeline/runtime/shard_host.ts";
import { NO_POSITION, type ResultRows, type ResultValue, type SetAsideRecord } from "../../pipeline/sinks/sink.ts";
import { MemorySink } from "../sinks/memory_sink.ts";
import { encode, type Event, PartitionLog, recordOf, SCHEMAS } from "./logs.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

/** The crash that a test asked for. */
export class Crash extends Error {}

/** Everything a runner runs against, in memory; it outlives runners, as brokers and databases do. */
export class RunnerBench {
  readonly plan: Plan;
  readonly clock = new VirtualClock();
  readonly logs: PartitionLog[];
  readonly sink: MemorySink;
  readonly published: ResultRows[] = [];
  readonly aside: SetAsideRecord[] = [];
  readonly live: ResultRows[] = [];
  readonly noted: ReadonlyMap<number, number>[] = [];
  samples: Sample[] = [];
  /** What the registry holds, by id. */
  readonly schemas: Record<number, AvroSchema> = { ...SCHEMAS };
  saved: Uint8Array | null = null;
  saves = 0;
  topicId: string | null = null;
  /** The first offset of each partition, or of all: what lies before cannot be read any more. */
  earliest: number | readonly number[] = 0;
  flushes = 0;
  paused: readonly number[] = [];
  events: ShardEvents | null = null;
  /** Batches taken of each partition before a flush. */
  batchesPerFlush = 1;
  /** Called at every point where a process can die, with its name; throws to die there. */
  step: (name: string) => void = () => {};
  /** Awaited by each write to the sink. */
  sinkGate: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  /** The same surroundings for another definition of the same name. */
  redefined(plan: Plan): RunnerBench {
    const other = new RunnerBench(plan, []);
    other.logs.push(...this.logs);
    for (const row of this.sink.rows()) other.sink.put(row);
    return Object.assign(other, { saved: this.saved, samples: this.samples, earliest: this.earliest });
  }

  /** The first offset of each partition whose record is as late as a time; -1 where none is. */
  readonly offsetsAt = new Map<number, readonly number[]>();

  constructor(plan: Plan, partitions: readonly (readonly (readonly Event[])[])[]) {
    this.plan = plan;
    this.logs = partitions.map(() => new PartitionLog());
    partitions.forEach((batches, partition) => batches.forEach((events) => this.append(partition, ...events)));
    this.sink = new MemorySink(resultColumns(plan));
  }

  append(partition: number, ...events: Event[]): void {
    this.logs[partition].append(events.map((event) => recordOf(encode(event), this.clock.now())));
  }

  /** A late record or dead letter, back in its partition. */
  redrive(
    partition: number,
    event: Event,
    { source, pipeline = this.plan.name }: { source: number; pipeline?: string },
  ): void {
    const text = new TextEncoder();
    this.logs[partition].append([{
      ...recordOf(encode(event), this.clock.now()),
      headers: [
        ["mine", text.encode("x")],
        [REDRIVE_OFFSET, text.encode(String(source))],
        [REDRIVE_ATTEMPT, text.encode("1")],
        [REDRIVE_PIPELINE, text.encode(pipeline)],
      ],
    }]);
  }

  /** What `explain` needs, over this bench's logs and what was saved here. */
  explainDeps(): ExplainDeps {
    const { checkpoints, history, hosts, clock, cluster } = this.deps();
    return { checkpoints, history, hosts, clock, cluster: cluster(), signal: new AbortController().signal };
  }

  earliestOf(partition: number): number {
    return typeof this.earliest === "number" ? this.earliest : this.earliest[partition];
  }

  get checkpoint(): Checkpoint | null {
    return this.saved && decodeCheckpoint(this.saved);
  }

  /** Final rows as `key window count sum revision`, in order. */
  finals(): string[] {
    return this.sink.rows().filter((row) => row.at(-1) === true).map(([k, start, , n, total, revision]) =>
      `${k} ${start} n=${n} total=${total} revision=${revision}`
    ).sort();
  }

  runner(deps: Partial<RunnerDeps> = {}): PipelineRunner {
    return new PipelineRunner(this.plan, { ...this.deps(), ...deps });
  }

  deps(): RunnerDeps {
    const store: CheckpointStore = {
      load: () => {
        this.step("load");
        return Promise.resolve(this.checkpoint);
      },
      save: (_, checkpoint) => {
        this.step("before save");
        this.saved = encodeCheckpoint(checkpoint);
        this.saves++;
        this.step("after save");
        return Promise.resolve();
      },
    };
    const cluster = {
      leaders: () => {
        this.step("leaders");
        return Promise.resolve({ topic: "t", id: this.topicId, leaders: this.logs.map(() => 1) });
      },
      offsets: (_: string, partitions: number[], position: "earliest" | "latest" | number) =>
        Promise.resolve(
          new Map(partitions.map((partition) => [
            partition,
            position === "earliest"
              ? this.earliestOf(partition)
              : position === "latest"
              ? this.logs[partition].end
              : this.offsetsAt.get(position)?.[partition] ?? -1,
          ])),
        ),
      close: () => Promise.resolve(),
      // Boundary: the runner uses these three methods of the class, which cannot be made without a broker.
    } as unknown as Cluster;
    return {
      clock: this.clock,
      hosts: [this.#host(), this.#host()],
      cluster: () => cluster,
      sink: {
        resume: () => this.sink.resume(),
        position: () => this.sink.position(),
        name: "memory",
        write: async (rows, options) => {
          await this.sinkGate(options.signal);
          this.step("before sink");
          this.published.push(rows);
          await this.sink.write(rows, options);
          this.step("after sink");
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      },
      setAside: {
        ...NO_POSITION,
        write: (records) => {
          this.step("before set aside");
          this.aside.push(...records);
          this.step("after set aside");
          return Promise.resolve();
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      },
      checkpoints: store,
      checkpointEveryMs: 450,
      onRows: (rows) => this.live.push(rows),
      history: {
        load: () => Promise.resolve(this.samples),
        append: (_, samples) => {
          this.step("before history");
          this.samples = [...this.samples, ...samples];
          this.step("after history");
          return Promise.resolve();
        },
        replace: (_, samples) => {
          this.samples = [...samples];
          return Promise.resolve();
        },
      },
      generation: 0,
      onSaved: (ledger) => this.noted.push(new Map(ledger.map(({ partition, position }) => [partition, position]))),
    };
  }

  /** Starts a runner; `stop` ends it as Ctrl-C does. */
  start(deps: Partial<RunnerDeps> = {}, options: Parameters<PipelineRunner["run"]>[1] = {}) {
    const ended = new AbortController();
    const runner = this.runner(deps);
    const result = runner.run(ended.signal, options).then(() => null, (error: Error) => error);
    return {
      runner,
      result,
      stop: async () => {
        ended.abort(new Error("stop"));
        // What still waits at the end waits for time.
        for (let i = 0; i < 40; i++) await this.clock.pass(100);
        return await result;
      },
    };
  }

  #host(): ShardHost {
    return {
      open: (task, events) => {
        this.step("open");
        this.events = events;
        const shard = new Shard(task, {
          clock: this.clock,
          schemaById: (id) => Promise.resolve(this.schemas[id] ?? null),
          onFull: events.onFull,
        });
        return Promise.resolve({
          flush: async ({ raises, paused }) => {
            this.step("flush");
            this.flushes++;
            this.paused = paused;
            const flush = shard.flush(raises);
            // Reading goes on after a flush, for the next one.
            for (const partition of shard.partitions.filter((partition) => !paused.includes(partition))) {
              const log = this.logs[partition];
              const position = shard.positionOf(partition);
              const first = this.earliestOf(partition);
              if (position < first) {
                const offsets = { wanted: position, first, end: log.end };
                events.onFailed(new OffsetOutOfRangeError("t", partition, offsets));
                continue;
              }
              await shard.take(log.fetch(partition, position, this.batchesPerFlush));
            }
            return flush;
          },
          close: () => Promise.resolve(shard.close()),
        });
      },
    };
  }
}

/** The rows of a publication as objects. */
export function objects({ columns, values, length }: ResultRows): Record<string, ResultValue>[] {
  return Array.from(
    { length },
    (_, row) => Object.fromEntries(columns.map(({ name }, column) => [name, values[column][row]])),
  );
}
