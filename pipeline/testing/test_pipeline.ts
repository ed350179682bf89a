import type { PartitionCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Definition, Duration } from "../definition.ts";
import { ConfigError } from "../errors.ts";
import { planOf } from "../plan/compile.ts";
import { parseDuration } from "../plan/durations.ts";
import type { Plan } from "../plan/plan.ts";
import { readSchemas } from "../plan/schemas.ts";
import type { Buckets } from "../ledger.ts";
import { partitionOf } from "../log/murmur2.ts";
import { MemoryTopic } from "./memory_topic.ts";
import { Outside } from "./outside.ts";
import type { LogRecord } from "./partition_log.ts";
import { headersOfRedrive, lettersOf, type TestLetter } from "./test_letters.ts";
import { encodeRecords, eventTimeOf, keyOf, logRecord, type PipeOptions, timeOf } from "./test_records.ts";
import type { TestRecord } from "./test_records.ts";
import { newestRows, paneRows, rowsOf, type TestRow } from "./test_rows.ts";
import { TestRun } from "./test_run.ts";
import { VirtualClock } from "./virtual_clock.ts";

/** The wall clock's start where nothing tells of a better one. */
const START_MS = Date.UTC(2026, 0, 1);
/** Epochs that a step may take. More means that the engine does not come to rest. */
const EPOCHS_MAX = 1_000;

export interface TestOptions {
  /** Partitions of the topic; one unless told. */
  readonly partitions?: number;
  /** What the wall clock shows at the start; the latest event time of the first records unless told. */
  readonly now?: Date | string;
  /** Folder of the Avro schemas; the repository's own `schemas/` unless told. */
  readonly schemas?: string | URL;
}

/**
 * Runs a definition in a test: the engine that runs it live, over a topic in memory and on a clock that moves when told.
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { count, pipeline, postgres, topic, tumbling } from "../mod.ts";
 * import { testPipeline } from "./mod.ts";
 *
 * const visits = pipeline({
 *   name: "visits",
 *   from: topic("visits", {
 *     schema: {
 *       type: "record",
 *       name: "Visit",
 *       fields: [
 *         { name: "page", type: "string" },
 *         { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
 *       ],
 *     },
 *     eventTime: "at",
 *   }),
 *   groupBy: ["page"],
 *   window: tumbling("1 minute"),
 *   select: { n: count() },
 *   to: [postgres("visits")],
 * });
 * await using test = await testPipeline(visits);
 * await test.pipe([{ page: "/", at: "2026-05-01T12:00:10Z" }, { page: "/", at: "2026-05-01T12:00:20Z" }]);
 * await test.advanceEventTime("1 minute");
 * const [row] = test.results();
 * assert.deepEqual([row.page, row.n, row.final], ["/", 2, true]);
 * ```
 *
 * @throws ConfigError with every fault of the definition
 */
export async function testPipeline(definition: Definition, options: TestOptions = {}): Promise<TestPipeline> {
  const { schemas = new URL("../../schemas", import.meta.url) } = options;
  const isNamed = typeof definition.from?.options?.schema === "string";
  const folder = schemas instanceof URL ? schemas.pathname : schemas;
  return new TestPipeline(await planOf(definition, isNamed ? await readSchemas(folder) : new Map()), options);
}

/**
 * A pipeline under test; made by {@linkcode testPipeline}. Every step is complete when its promise resolves: all that was piped is
 * read, what follows from it is published, and a checkpoint is saved. A step throws what the pipeline stopped with.
 */
export class TestPipeline implements AsyncDisposable {
  readonly plan: Plan;
  /** The id of the definition's own schema, for values framed by hand. */
  readonly schemaId: number;
  readonly #topic: MemoryTopic;
  readonly #outside = new Outside();
  readonly #piped: unknown[][];
  readonly #startMs: number | null;
  #clock: VirtualClock | null = null;
  #run: TestRun | null = null;
  #isClosed = false;

  /** Use {@linkcode testPipeline}. */
  constructor(plan: Plan, { partitions = 1, now }: TestOptions) {
    if (!Number.isInteger(partitions) || partitions < 1) {
      throw new ConfigError({
        where: "testPipeline: partitions",
        problem: `${partitions} is not a whole number from 1`,
      });
    }
    this.plan = plan;
    this.#topic = new MemoryTopic(plan.topic, partitions);
    this.schemaId = this.#topic.register(plan.schema);
    this.#piped = Array.from({ length: partitions }, () => []);
    this.#startMs = now === undefined ? null : timeOf(now, "testPipeline: now");
  }

  /**
   * Appends records to the topic, as one batch for each partition, and has them read.
   *
   * @throws ConfigError naming record, field and problem of all that the schema does not take; nothing is appended then
   */
  async pipe(records: TestRecord | readonly TestRecord[], options: PipeOptions = {}): Promise<void> {
    const list = Array.isArray(records) ? records as readonly TestRecord[] : [records as TestRecord];
    const { schema = this.plan.schema } = options;
    const values = encodeRecords(list, { schema, schemaId: this.#topic.register(schema) });
    const times = list.map((record) => eventTimeOf(record, this.plan));
    await this.#start(Math.max(...times.filter((time) => !Number.isNaN(time))));
    await this.#append(list.map((piped, i) => ({ piped, value: values[i], eventTimeMs: times[i] })), options);
  }

  /** Appends a record with this value as it is, framing and all; null makes a tombstone. */
  async pipeBytes(value: Uint8Array | null, options: Omit<PipeOptions, "schema"> = {}): Promise<void> {
    await this.#start(-Infinity);
    await this.#append([{ piped: value, value, eventTimeMs: NaN }], options);
  }

  /**
   * Writes a late record or dead letter to its partition again, as `tailrace redrive` does; `instead` is what it is mended to.
   *
   * @throws ConfigError naming field and problem of what the schema does not take
   */
  async redrive(letter: TestLetter, instead?: TestRecord): Promise<void> {
    const run = await this.#start(-Infinity);
    const { schema } = this.plan;
    const value = instead ? encodeRecords([instead], { schema, schemaId: this.schemaId })[0] : letter.kept.value;
    await this.#write(run, letter.partition, {
      piped: [instead ?? letter.record],
      records: [{
        timestampMs: this.#clock!.now(),
        key: letter.kept.key,
        value,
        headers: headersOfRedrive(letter, this.plan.name),
      }],
    });
  }

  /**
   * Raises the watermark of every partition: by so much from the furthest of them, or to a time. Windows that end by then
   * close. It is done as the engine does it for silent partitions, so it is in the checkpoint too.
   *
   * @throws ConfigError when event time would go back, or nothing was piped yet that it could go on from
   */
  async advanceEventTime(by: Duration | Date): Promise<void> {
    const run = await this.#start(-Infinity);
    const reached = Math.max(...this.#partitions().map((partition) => this.#watermarkOf(partition)));
    const toMs = by instanceof Date ? by.getTime() : reached + durationMs("advanceEventTime", by);
    const problem = toMs === -Infinity
      ? "there is no event time yet: pipe a record first, or give a Date"
      : Number.isNaN(toMs) || toMs < reached
      ? `event time has come to ${new Date(reached).toISOString()} already, and does not go back`
      : null;
    if (problem !== null) throw new ConfigError({ where: "advanceEventTime", problem });
    run.host.raise(toMs);
    await this.#until(
      run,
      () => this.#partitions().every(({ raisedToMs }) => raisedToMs !== null && raisedToMs >= toMs),
    );
    // A decision closes windows once it is saved: in the epoch after.
    await this.#anotherEpoch(run);
  }

  /** Raises the watermark past the end of the last open window: all of them close. */
  async closeWindows(): Promise<void> {
    const starts = this.#outside.checkpoint?.panes.flatMap(({ windows }) => [...windows]) ?? [];
    if (starts.length === 0) return;
    const endMs = Math.max(...starts) + this.plan.window.sizeMs;
    const reached = Math.max(...this.#partitions().map((partition) => this.#watermarkOf(partition)));
    await this.advanceEventTime(new Date(Math.max(endMs, reached)));
  }

  /** Lets time pass on the wall clock: early results come out, silent partitions are taken for idle. */
  async advanceWallTime(by: Duration): Promise<void> {
    const run = await this.#start(-Infinity);
    await this.#clock!.pass(durationMs("advanceWallTime", by));
    await this.#clock!.settle();
    this.#check(run);
  }

  /** What the destinations hold now: of each key and window the newest row, in order of window and key. */
  results(): TestRow[] {
    return newestRows(this.plan, this.updates());
  }

  /** All rows ever published, early and final, in order. */
  updates(): TestRow[] {
    return this.#outside.published.flatMap(rowsOf);
  }

  /** Windows that are still open, by key, as the rows they would be now. */
  panes(): TestRow[] {
    return paneRows(this.plan, this.#outside.checkpoint?.panes ?? []);
  }

  /** Records whose windows had closed. */
  late(): TestLetter[] {
    return this.#letters("late");
  }

  /** Records that could not be read. */
  dead(): TestLetter[] {
    return this.#letters("dead");
  }

  /** Where the records piped so far ended, in all or of one partition. `consumed` is always the sum of the others. */
  ledger(partition?: number): Buckets {
    const sum = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
    for (const { partition: number, buckets } of this.#partitions()) {
      if (partition !== undefined && partition !== number) continue;
      for (const name of Object.keys(sum) as (keyof Buckets)[]) sum[name] += buckets[name];
    }
    return sum;
  }

  /** How far event time has come in the slowest partition, ISO 8601; null while one has none. */
  watermark(): string | null {
    const least = Math.min(...this.#partitions().map((partition) => this.#watermarkOf(partition)));
    return Number.isFinite(least) ? new Date(least).toISOString() : null;
  }

  /** What the wall clock shows, ISO 8601. */
  now(): string {
    return new Date(this.#clock?.now() ?? this.#startMs ?? START_MS).toISOString();
  }

  /**
   * Ends the run as a crash does, without a last word, and starts another from the checkpoint's bytes. A pipeline that means
   * what it says gives the same results with restarts anywhere.
   */
  async restart(): Promise<void> {
    const run = await this.#start(-Infinity);
    await run.crash();
    this.#run = null;
    await this.#start(-Infinity);
  }

  /** Stops the pipeline. @throws what it stopped with before, unless a step has thrown it */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const run = this.#run;
    if (run === null) return;
    const told = run.failure !== null;
    await run.end("the test is over");
    if (run.failure !== null && !told) throw run.failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #letters(why: "late" | "dead"): TestLetter[] {
    const kept = this.#outside.aside.filter((record) => record.why === why);
    return lettersOf(kept, (partition, offset) => this.#piped[partition][offset]);
  }

  async #append(
    records: readonly { readonly piped: unknown; readonly value: Uint8Array | null; readonly eventTimeMs: number }[],
    options: PipeOptions,
  ): Promise<void> {
    const { partitions } = this.#topic;
    const key = keyOf(options);
    const { partition = key === null ? 0 : partitionOf(key, partitions.length) } = options;
    if (partitions[partition] === undefined) {
      const problem = `there is no partition ${partition}: the topic has ${partitions.length}; ` +
        "testPipeline(definition, { partitions: .. }) makes more";
      throw new ConfigError({ where: "pipe: partition", problem });
    }
    const nowMs = this.#clock!.now();
    await this.#write(this.#run!, partition, {
      piped: records.map(({ piped }) => piped),
      records: records.map(({ value, eventTimeMs }) => logRecord(value, options, { nowMs, eventTimeMs })),
    });
  }

  async #write(
    run: TestRun,
    partition: number,
    { piped, records }: { readonly piped: readonly unknown[]; readonly records: readonly LogRecord[] },
  ): Promise<void> {
    const { partitions } = this.#topic;
    partitions[partition].append(records);
    for (const record of piped) this.#piped[partition].push(record);
    await this.#until(
      run,
      () => this.#partitions().every(({ partition, position }) => position === partitions[partition].end),
    );
  }

  /** The run, begun at first use: then it is known when the test takes place. */
  async #start(latestMs: number): Promise<TestRun> {
    if (this.#isClosed) throw new Error("The test pipeline is closed");
    if (this.#run !== null) {
      this.#check(this.#run);
      return this.#run;
    }
    const clock = this.#clock ??= new VirtualClock(this.#startMs ?? (Number.isFinite(latestMs) ? latestMs : START_MS));
    const run = this.#run = new TestRun(this.plan, { clock, topic: this.#topic, outside: this.#outside });
    await this.#anotherEpoch(run);
    return run;
  }

  async #anotherEpoch(run: TestRun): Promise<void> {
    await this.#until(run, () => true);
  }

  /** Has epochs run, at least one, until the last checkpoint is as wanted. */
  async #until(run: TestRun, isDone: () => boolean): Promise<void> {
    const before = this.#epoch();
    for (let epoch = 0; epoch < EPOCHS_MAX; epoch++) {
      await run.read();
      if (run.isOver || (this.#epoch() > before && isDone())) return this.#check(run);
    }
    throw new Error(`The pipeline does not come to rest in ${EPOCHS_MAX} epochs: this is a bug`);
  }

  /** What must hold after every step. */
  #check(run: TestRun): void {
    if (run.failure !== null) throw run.failure;
    for (const { partition, start, position, buckets } of this.#partitions()) {
      const { consumed, aggregated, filtered, late, dead, duplicate } = buckets;
      if (consumed !== aggregated + filtered + late + dead + duplicate || consumed !== position - start) {
        throw new Error(
          `The ledger of partition ${partition} does not add up before offset ${position}: ${
            JSON.stringify(buckets)
          }. ` +
            "This is a bug",
        );
      }
    }
  }

  /** How many epochs are saved. */
  #epoch(): number {
    return this.#outside.checkpoint?.epoch ?? 0;
  }

  #partitions(): readonly PartitionCheckpoint[] {
    return this.#outside.checkpoint?.partitions ?? [];
  }

  #watermarkOf({ maxEventTimeMs, raisedToMs }: PartitionCheckpoint): number {
    return Math.max((maxEventTimeMs ?? -Infinity) - this.plan.allowedLatenessMs, raisedToMs ?? -Infinity);
  }
}

function durationMs(where: string, duration: Duration): number {
  const ms = parseDuration(duration);
  if (typeof ms === "string") throw new ConfigError({ where, problem: ms });
  return ms;
}
