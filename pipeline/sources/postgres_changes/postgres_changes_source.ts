/**
 * Reads first the rows that are there, then every change of them, so that nothing is missing between and nothing is twice:
 *
 *     1. a snapshot at L of the tables that are not read whole
 *     2. changes up to L of what was read before: of rows up to the last key; others come with the snapshot
 *     3. the rows of the snapshot, from the last key on
 *     4. changes from L on
 *
 * A start after a crash, a table that is new in the definition and a snapshot that is too old all begin with 1.
 *
 * @module
 */
import { avroType } from "../../codec/avro_values.ts";
import { FRAME_BYTES, schemaIdAt } from "../../codec/framing.ts";
import { ConfigError } from "../../errors.ts";
import { shownKey } from "../largest_record.ts";
import type { ReadOptions, Rejected, Source, SourceBatch, SourcePosition, SourceRecord } from "../source.ts";
import type { SourceContext } from "../source_spec.ts";
import { BatchBuilder } from "./batch_builder.ts";
import type { TableInfo } from "./catalog.ts";
import { CatalogWatch } from "./catalog_watch.ts";
import { ChangeReader, type Followed } from "./change_reader.ts";
import { CONNECT_WITHIN_MS, PgConnection } from "./connection.ts";
import type { DatabaseAddress } from "./database_url.ts";
import { LogStream, readDataRow, SILENT_MAX_MS } from "./log_stream.ts";
import { formatLsn, parseLsn } from "./lsn.ts";
import { asFailure, PgError } from "./pg_error.ts";
import type { ChangesPosition, Progress } from "./position.ts";
import { prepare, type Prepared, type Wanted } from "./prepare.ts";
import { type Origin, Relation, type RelationColumn } from "./relation.ts";
import { Snapshot } from "./snapshot.ts";

/** A batch waits so long for more while changes come, and no longer than this in all. */
const LINGER_MS = 5;
const BATCH_AGE_MAX_MS = 50;
/** A snapshot holds back vacuum and the change of its tables: after this another is taken. */
const SNAPSHOT_AGE_MAX_MS = 15 * 60_000;
/** How often a server that has not reached a place yet is asked where it is. */
const ASK_EVERY_MS = 100;
/** A server with long transactions takes its time. */
const PATIENCE_MS = 3_000;

export interface ChangesOptions {
  readonly address: DatabaseAddress;
  readonly wanted: Wanted;
  readonly prefix: string;
  readonly partitions: number | null;
  readonly tombstones: boolean;
  readonly rejectsTooLarge: boolean;
  readonly heartbeatMs: number;
  readonly context: Pick<SourceContext, "registry" | "ensureTopics" | "clock">;
  /** Default `BATCH_RECORDS`. */
  readonly batchRecords?: number;
  /** Default `SNAPSHOT_AGE_MAX_MS`. */
  readonly snapshotAgeMaxMs?: number;
  /** Default `SILENT_MAX_MS`. */
  readonly silentMaxMs?: number;
}

/** What is read next, and how far. */
interface Following {
  readonly progress: Progress;
  readonly prepared: Prepared;
  /** Transactions committed from here on are left; null to read on for ever. */
  readonly until: number | null;
  /** Of which tables are being read, while they are. */
  readonly snapshot: Snapshot | null;
  readonly options: ReadOptions;
}

/** What is asked of a record that was written before. */
interface Told {
  readonly op: string;
  readonly source: { readonly lsn: number | string; readonly index: number };
}

export class PostgresChangesSource implements Source {
  readonly #options: ChangesOptions;
  readonly #relations = new Map<string, Relation>();
  readonly #topics = new Set<string>();
  #stream: LogStream | null = null;
  #confirmed = 0;
  #phase = "starting";
  #progress: Progress | null = null;

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    try {
      for await (const batch of this.#read(position as ChangesPosition | null, options)) {
        yield this.#options.rejectsTooLarge ? { ...batch, tooLarge: (record) => this.#tooLarge(record) } : batch;
      }
    } catch (error) {
      throw asFailure(error, this.#where);
    } finally {
      this.#stream?.[Symbol.dispose]();
      this.#stream = null;
    }
  }

  committed(position: SourcePosition): void {
    this.#confirmed = parseLsn((position as ChangesPosition).lsn);
    this.#stream?.confirm(this.#confirmed);
  }

  details(): Readonly<Record<string, string | number | boolean | null>> {
    const { slot, publication } = this.#options.wanted;
    const walEnd = this.#stream?.walEnd ?? 0;
    return {
      slot,
      publication,
      phase: this.#phase,
      lsn: this.#progress && formatLsn(this.#progress.lsn),
      confirmedLsn: this.#confirmed > 0 ? formatLsn(this.#confirmed) : null,
      walBehindBytes: walEnd > 0 && this.#confirmed > 0 ? Math.max(0, walEnd - this.#confirmed) : null,
      tablesToRead: this.#progress?.toRead.join(", ") || null,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stream?.[Symbol.dispose]();
    this.#stream = null;
    return Promise.resolve();
  }

  /** Of a change that its topic does not take: enough to find it. */
  #tooLarge({ key, value }: SourceRecord): Rejected {
    const id = schemaIdAt(value!, 0, value!.length);
    const relation = [...this.#relations.values()].find(({ schemaId }) => schemaId === id)!;
    const { op, source } = avroType(relation.schema).decodeToJson(value!.subarray(FRAME_BYTES)) as unknown as Told;
    const [lsn, row] = [formatLsn(Number(source.lsn)), shownKey(key!)];
    const found = { table: relation.table, key: row, op, lsn, index: source.index, bytes: value!.length };
    return {
      raw: new TextEncoder().encode(JSON.stringify(found)),
      reason: `is of ${value!.length} bytes, more than its topic takes (max.message.bytes)`,
      where: `${relation.table} ${row}, lsn ${lsn}, change ${source.index} of its transaction`,
    };
  }

  get #where(): string {
    const { host, port, database } = this.#options.address;
    return `PostgreSQL ${host}:${port}/${database}`;
  }

  /** A connection that is given up when the server is silent, and takes no other one either. */
  #connect({ signal }: { readonly signal: AbortSignal }): Promise<PgConnection> {
    const { address, silentMaxMs = SILENT_MAX_MS } = this.#options;
    const probe = async (signal: AbortSignal) => {
      const withinMs = Math.min(CONNECT_WITHIN_MS, 4 * silentMaxMs);
      try {
        using another = await PgConnection.open(address, { signal, where: this.#where, withinMs });
        await another.end();
      } catch (error) {
        // Whoever refuses is there: it may have no connection left.
        if (!(error instanceof ConfigError) && !((error as Error).cause instanceof PgError)) throw error;
      }
    };
    return PgConnection.open(address, { signal, where: this.#where, silence: { everyMs: silentMaxMs, probe } });
  }

  async *#read(position: ChangesPosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const prepared = await this.#prepare(position, options);
    const { progress } = prepared;
    this.#progress = progress;
    this.#confirmed = position === null ? 0 : parseLsn(position.lsn);
    while (progress.toRead.length > 0) yield* this.#readRows({ progress, prepared, options });
    this.#phase = "changes";
    const until = options.isBounded ? prepared.lsn : null;
    yield* this.#follow({ progress, prepared, until, snapshot: null, options });
  }

  async #prepare(position: ChangesPosition | null, options: ReadOptions): Promise<Prepared> {
    using connection = await this.#connect(options);
    const prepared = await prepare(connection, this.#options.wanted, position);
    await connection.end();
    return prepared;
  }

  /** Takes a snapshot and reads what it can of the tables that are left. */
  async *#readRows(
    { progress, prepared, options }: Pick<Following, "progress" | "prepared" | "options">,
  ): AsyncGenerator<SourceBatch> {
    const { snapshotAgeMaxMs = SNAPSHOT_AGE_MAX_MS } = this.#options;
    this.#phase = "snapshot";
    const tables = progress.toRead.map((name) => prepared.tables.get(name)!);
    using snapshot = await this.#patiently(Snapshot.take(() => this.#connect(options), tables), options);
    if (progress.hasRows) yield* this.#follow({ progress, prepared, until: snapshot.lsn, snapshot, options });
    progress.reached(snapshot.lsn);
    const builder = new BatchBuilder(this.#options);
    const takenAtMs = options.clock.now();
    for (const table of tables) {
      const followed = await this.#followed(table, table.columns, prepared.database);
      const { relation, after: cells } = followed;
      const origin = (op: "r" | "t"): Origin => ({
        op,
        lsn: snapshot.lsn,
        index: 0,
        transaction: null,
        committedAtMs: takenAtMs,
        nowMs: options.clock.now(),
      });
      const rows = progress.rows(table.name);
      const { connection } = snapshot;
      if (rows === "again") builder.add(relation, { data: NOTHING, before: null, after: null }, origin("t"));
      await snapshot.ask(table, typeof rows === "object" ? rows.after : null);
      let row = origin("r");
      while (await snapshot.nextRow()) {
        const data = connection.buffer;
        readDataRow(data, connection.bodyStart, cells);
        builder.add(relation, { data, before: null, after: cells }, row);
        if (!builder.isFull) continue;
        progress.read(table.name, { after: relation.keyTexts(data, cells) });
        yield { records: builder.take(), position: progress.position };
        if (snapshot.ageMs > snapshotAgeMaxMs) return;
        row = origin("r");
      }
      progress.read(table.name, "all");
    }
    yield { records: builder.take(), position: progress.position };
  }

  /** Says so when it takes long. */
  async #patiently<T>(work: Promise<T>, { onWaiting }: ReadOptions): Promise<T> {
    const timer = setTimeout(
      () => onWaiting("a snapshot waits for the transactions that are under way on the server"),
      PATIENCE_MS,
    );
    try {
      return await work;
    } finally {
      clearTimeout(timer);
      onWaiting(null);
    }
  }

  /** Reads changes from where `progress` is. */
  async *#follow(following: Following): AsyncGenerator<SourceBatch> {
    const { progress, prepared, until, snapshot, options } = following;
    const { wanted: { slot, publication }, heartbeatMs } = this.#options;
    const connection = await this.#connect(options);
    using stream = await LogStream.start(connection, {
      slot,
      publication,
      lsn: progress.lsn,
      confirmed: this.#confirmed,
      silentMaxMs: this.#options.silentMaxMs,
    }).catch((error) => {
      connection.close();
      throw error;
    });
    this.#stream = stream;
    const reader = new ChangeReader({
      stream,
      progress,
      tables: prepared.tables,
      until,
      snapshot,
      builder: new BatchBuilder(this.#options),
      clock: options.clock,
      follow: (table, columns) => this.#followed(table, columns, prepared.database),
    });
    await using watch = until !== null ? null : new CatalogWatch({
      connect: (options) => this.#connect(options),
      publication,
      tables: prepared.tables,
      everyMs: heartbeatMs,
    });
    let yieldedLsn = progress.lsn;
    let yieldedAt = performance.now();
    let filling: Promise<void> | null = null;
    if (until !== null) stream.tell(true);
    for (;;) {
      watch?.check();
      const state = await reader.drain();
      const idleMs = performance.now() - yieldedAt;
      const { length } = reader;
      const isDue = state !== "waits" || (length > 0 && idleMs >= BATCH_AGE_MAX_MS) ||
        (progress.lsn > yieldedLsn && (idleMs >= heartbeatMs || reader.isAsked));
      if (isDue) {
        const records = await reader.take();
        yieldedLsn = progress.lsn;
        reader.isAsked = false;
        yield { records, position: progress.position };
        yieldedAt = performance.now();
        if (state === "ended") break;
        if (state === "full") continue;
      }
      filling ??= stream.fill().finally(() => filling = null);
      filling.catch(() => {}); // looked at in the next round
      const waitMs = reader.length > 0 ? LINGER_MS : until === null ? heartbeatMs : ASK_EVERY_MS;
      if (await isWithin(filling, waitMs)) continue;
      if (reader.length > 0) yieldedAt = -Infinity;
      else if (until !== null) stream.tell(true);
    }
    this.#stream = null;
    await stream.end();
  }

  /** The table as it is at a place in the log; registers the schema of its records where that is new. */
  async #followed(table: TableInfo, columns: readonly RelationColumn[], database: string): Promise<Followed> {
    const { context, prefix, partitions } = this.#options;
    const signature = `${table.name} ${JSON.stringify(columns)}`;
    let relation = this.#relations.get(signature);
    if (!relation) {
      const topic = `${prefix}${table.name}`;
      relation = new Relation({ database, schema: table.schema, table: table.table, topic, columns });
      try {
        relation.schemaId = await context.registry.register(`${topic}-value`, relation.schema);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        throw new ConfigError({
          where: `table ${table.name}`,
          problem:
            `its columns changed so that the registry refuses the schema of ${topic} (${error.message}). Readers ` +
            `of the old one cannot read the new: allow it (PUT /config/${topic}-value {"compatibility": "NONE"}), and start again`,
        });
      }
      if (!this.#topics.has(topic)) {
        await context.ensureTopics([{ topic, ...partitions === null ? {} : { partitions } }]);
        this.#topics.add(topic);
      }
      this.#relations.set(signature, relation);
    }
    return {
      table,
      relation,
      before: new Int32Array(2 * columns.length),
      after: new Int32Array(2 * columns.length),
    };
  }
}

const NOTHING = new Uint8Array(0);

/** Whether the work is done in time; it goes on if not. @throws what the work throws in time */
async function isWithin(work: Promise<void>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), ms));
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
