/**
 * One topic's archive, running in this thread: reads the topic from where its table in the lake is, and keeps the table up.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { parseSchema } from "../codec/schema.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import { Cluster, type TopicLeaders } from "../log/cluster.ts";
import { Fetcher, OffsetOutOfRangeError } from "../log/fetcher.ts";
import type { ClusterOptions } from "../log/open_connection.ts";
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from "../log/registry_client.ts";
import type { AvroSchema, FlushLimits } from "../plan/plan.ts";
import { ARCHIVE_PARTITION_COLUMN, archiveAppId, type ArchiveStatus } from "../sinks/lake/archive/archive.ts";
import { ArchiveColumns } from "../sinks/lake/archive/archive_columns.ts";
import { Archiver, SupersededError, type WrittenTail } from "../sinks/lake/archive/archiver.ts";
import { Stager } from "../sinks/lake/archive/stager.ts";
import type { Snapshot } from "../sinks/lake/delta/table.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { Rate } from "./rate.ts";

/** What to archive, and from where; plain data, so that it can be sent to a thread. */
export interface ArchiveTask {
  readonly topic: string;
  readonly table: string;
  readonly flush: FlushLimits;
  /** What records are expected to be: gives an empty table its columns. Records of other schemas are archived all the same. */
  readonly schema: AvroSchema;
  /** Dotted path of the field that says when a record happened. */
  readonly eventTime: string | null;
  readonly brokers: readonly string[];
  readonly cluster: ClusterOptions;
  readonly registry: RegistryClientOptions;
}

/** Most bytes fetched of one partition, and from one broker, in one answer. */
const PARTITION_BYTES = 2 * 1024 * 1024;
const FETCH_BYTES = 8 * 1024 * 1024;
const REGISTRY_BACK_OFF_MS = { first: 200, most: 5_000 };
/** How often it is looked whether a flush is due. */
const TICK_MS = 100;
const TOPIC_CHECK_MS = 30_000;
const TOPIC_WAIT_MS = 250;
/** How long a stop lets the last flush take. What is not in the table then is read again at the next start. */
const LAST_FLUSH_MS = 2_000;

export interface ArchiveRunDeps {
  readonly clock: Clock;
  readonly lake: Lake;
  /** Told of records that the log had lost before they were archived. */
  readonly onLost: (problem: string) => void;
}

/** An archive whose `run` may be called again and again. */
export class ArchiveRun {
  readonly #task: ArchiveTask;
  readonly #deps: ArchiveRunDeps;
  #state: ArchiveStatus["state"] = "starting";
  /** Why parts of it wait, by their names. */
  readonly #waiting = new Map<string, string>();
  #reason: string | null = null;
  #archiver: Archiver | null = null;
  #stager: Stager | null = null;
  #rowsArchived = 0;
  #bytesWritten = 0;
  #committedMs: number | null = null;
  #version: number | null = null;
  readonly #rate = new Rate();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(task: ArchiveTask, deps: ArchiveRunDeps) {
    this.#task = task;
    this.#deps = deps;
  }

  status(): ArchiveStatus {
    const { topic, table } = this.#task;
    const [waiting] = this.#waiting.values();
    const isWaiting = this.#state === "running" && waiting !== undefined;
    const rowsWaiting = this.#archiver?.rowsWaiting ?? 0;
    const now = this.#deps.clock.monotonic();
    this.#rate.note(now, this.#rowsArchived + rowsWaiting);
    return {
      topic,
      table,
      state: isWaiting ? "waiting" : this.#state,
      reason: this.#reason ?? waiting ?? null,
      version: this.#version,
      rowsArchived: this.#rowsArchived,
      rowsWaiting,
      bytesWritten: this.#bytesWritten,
      committedMs: this.#committedMs,
      inPerSecond: this.#rate.perSecond(now),
      lagRecords: this.#stager?.lag() ?? 0,
    };
  }

  /** Says that it will be run again, and why not yet; or that it stopped for good. */
  rest(state: "waiting" | "failed" | "stopped", reason: string | null): void {
    this.#state = state;
    this.#reason = reason;
    this.#waiting.clear();
  }

  /** @throws UnavailableError while there is nothing yet */
  async tail(): Promise<WrittenTail> {
    return await this.#running().tail();
  }

  /** @throws UnavailableError while there is nothing yet */
  async flush(): Promise<void> {
    await this.#running().flush();
  }

  #running(): Archiver {
    if (this.#archiver) return this.#archiver;
    const reason = this.#reason === null ? "" : `: ${this.#reason}`;
    throw new UnavailableError(`The archive of ${this.#task.topic} has not begun yet${reason}`);
  }

  /**
   * Archives until the signal.
   *
   * @throws UnavailableError and others that a repeat may mend; ConfigError
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#state = "starting";
    this.#reason = null;
    this.#waiting.clear();
    const { task, lake, clock } = { task: this.#task, ...this.#deps };
    const ending = new AbortController();
    const ended = AbortSignal.any([signal, ending.signal]);
    // Writing outlives the signal, by the last flush.
    const writing = new AbortController();
    await using cluster = new Cluster(task.brokers, task.cluster);
    const leaders = await this.#leaders(cluster, signal);
    if (leaders === null) return;
    const expected = new ArchiveColumns(null);
    expected.admit(parseSchema(task.schema));
    const table = await lake.ensureTable(task.table, {
      schema: expected.schema(),
      partitionColumns: [ARCHIVE_PARTITION_COLUMN],
      signal,
    });
    const snapshot = await table.snapshot({ signal });
    const archive = new ArchiveColumns(snapshot.schema);
    const { committed, positions } = await this.#positions(cluster, snapshot, leaders);
    const connection = await lake.database.connect();
    const registry = createRegistryClient(task.registry);
    const stager = new Stager(positions, {
      clock,
      archive,
      eventTime: task.eventTime,
      schemaById: (id) => this.#waitForSchema(registry, id, ended),
    });
    const archiver = new Archiver(snapshot, committed, {
      topic: task.topic,
      topicId: leaders.id,
      table,
      store: lake.store,
      database: lake.database,
      connection,
      archive,
      stager,
      flush: task.flush,
      clock,
      signal: writing.signal,
      onWaiting: (reason) => this.#setWaiting("writing", reason),
      onCommitted: ({ snapshot, rows, bytes }) => {
        this.#rowsArchived += rows;
        this.#bytesWritten += bytes;
        this.#version = snapshot.version;
        this.#committedMs = clock.now();
      },
    });
    const fetcher = new Fetcher(cluster, {
      topic: task.topic,
      partitions: stager.partitions,
      positionOf: (partition) => stager.positionOf(partition),
      take: (part) => this.#inTurn(() => stager.take(part, () => archiver.keepUp())),
      onWaiting: (reason) => this.#setWaiting("reading", reason),
      clock,
      signal: ended,
      partitionBytes: PARTITION_BYTES,
      fetchBytes: FETCH_BYTES,
    });
    this.#stager = stager;
    this.#archiver = archiver;
    this.#version = snapshot.version;
    this.#state = "running";
    this.#reason = null;
    try {
      await Promise.race([
        fetcher.run(),
        this.#tick(archiver, ended),
        this.#untilTopicChanges(cluster, { id: leaders.id, count: leaders.leaders.length }, ended),
      ]);
      if (signal.aborted) await this.#lastFlush(archiver);
    } catch (error) {
      if (signal.aborted) return;
      throw passing(error);
    } finally {
      this.#archiver = null;
      this.#stager = null;
      ending.abort(new UnavailableError("the archive was stopped"));
      writing.abort(new UnavailableError("the archive was stopped"));
      await this.#turn.catch(() => {});
      await archiver.end();
      connection.closeSync();
    }
  }

  /** Waits for the topic, which a pipeline makes; null at the signal. */
  async #leaders(cluster: Cluster, signal: AbortSignal): Promise<TopicLeaders | null> {
    while (!signal.aborted) {
      const found = await cluster.leaders(this.#task.topic);
      if (found) return found;
      this.#reason = `Topic ${this.#task.topic} does not exist (yet)`;
      await this.#deps.clock.sleep(TOPIC_WAIT_MS, signal).catch(() => {});
    }
    return null;
  }

  /** One part at a time: the rows are those of all partitions. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #setWaiting(part: string, reason: string | null): void {
    if (reason === null) this.#waiting.delete(part);
    else this.#waiting.set(part, reason);
  }

  /** Where the table is, and from where to read on. */
  async #positions(
    cluster: Cluster,
    { applications }: Snapshot,
    { id, leaders }: { readonly id: string | null; readonly leaders: readonly number[] },
  ): Promise<{ committed: Map<number, number>; positions: Map<number, number> }> {
    const { topic } = this.#task;
    const partitions = [...leaders.keys()];
    const earliest = await cluster.offsets(topic, partitions, "earliest");
    const committed = new Map<number, number>();
    const positions = new Map<number, number>();
    for (const partition of partitions) {
      const at = applications.get(archiveAppId(topic, id, partition));
      const first = earliest.get(partition)!;
      if (at !== undefined) committed.set(partition, at);
      positions.set(partition, Math.max(at ?? first, first));
      if (at !== undefined && at < first) {
        this.#deps.onLost(
          `${topic}/${partition}: records ${at} to ${first - 1} were deleted from the log before they were archived`,
        );
      }
    }
    return { committed, positions };
  }

  async #tick(archiver: Archiver, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(TICK_MS, signal).catch(() => {});
      if (!signal.aborted) await archiver.keepUp();
    }
  }

  async #untilTopicChanges(
    cluster: Cluster,
    known: { readonly id: string | null; readonly count: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { topic } = this.#task;
    while (!signal.aborted) {
      await this.#deps.clock.sleep(TOPIC_CHECK_MS, signal).catch(() => {});
      if (signal.aborted) return;
      const found = await cluster.leaders(topic).catch(() => null);
      if (!found) continue;
      if (found.id !== known.id) throw new UnavailableError(`Topic ${topic} was deleted and created anew`);
      if (found.leaders.length > known.count) {
        throw new UnavailableError(`Topic ${topic} grew to ${found.leaders.length} partitions`);
      }
    }
  }

  async #lastFlush(archiver: Archiver): Promise<void> {
    const done = new AbortController();
    const enough = this.#deps.clock.sleep(LAST_FLUSH_MS, done.signal);
    await Promise.race([this.#turn.then(() => archiver.flush()), enough]).catch(() => {});
    done.abort();
    await enough.catch(() => {});
  }

  /** Asks the registry until it answers: a record of unknown schema waits, it is not buried. */
  async #waitForSchema(registry: RegistryClient, id: number, signal: AbortSignal): Promise<AvroSchema | null> {
    for (let pauseMs = REGISTRY_BACK_OFF_MS.first;; pauseMs = Math.min(2 * pauseMs, REGISTRY_BACK_OFF_MS.most)) {
      try {
        const schema = await registry.schemaById(id);
        this.#setWaiting("schemas", null);
        return schema;
      } catch (error) {
        if (!(error instanceof UnavailableError || error instanceof ConfigError)) throw error;
        this.#setWaiting("schemas", error.message);
        await this.#deps.clock.sleep(pauseMs, signal);
      }
    }
  }
}

/** Where another is ahead, or records are gone, it is read on from where the table and the log are. */
function passing(error: unknown): unknown {
  const isPassing = error instanceof SupersededError || (error as Error).name === OffsetOutOfRangeError.name;
  return isPassing ? new UnavailableError((error as Error).message) : error;
}
