/**
 * One capture: everything that a question names, as local Parquet files of one moment.
 *
 * What running pipelines say is asked first, without a pause in between. Tables come after it, at the versions that what was said
 * goes on from; so it does not matter that fetching and writing files takes a while.
 *
 * @module
 */
import { UnavailableError } from "../../pipeline/errors.ts";
import type { ArchiveTail } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { Snapshot } from "../../pipeline/sinks/lake/delta/table.ts";
import { MissingObjectError } from "../../pipeline/sinks/lake/object_store.ts";
import { duckdbType } from "../../pipeline/sinks/lake/delta/schema.ts";
import { type Plan, type ResultColumn, resultColumns } from "../../pipeline/plan/plan.ts";
import type { Unsettled } from "../../pipeline/runtime/pipeline_runner.ts";
import type { PendingRows } from "../../pipeline/sinks/lake/results/lake_sink.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { QueryError } from "../deps.ts";
import { completenessOf, type Reach, tableWatermark } from "./capture_completeness.ts";
import { type FetchBudget, filesWithin, localFiles } from "./capture_files.ts";
import type { CaptureFolder } from "./capture_folder.ts";
import { type Moment, resultTable, takeMoment } from "./capture_moment.ts";
import { LEDGER_COLUMNS, ledgerRows, LETTER_COLUMNS, letterRows } from "./capture_records.ts";
import { captureResults, finalRows } from "./capture_results.ts";
import { copy, relationColumn, stage, stagedSql } from "./capture_rows.ts";
import { archiveReach, tailReach } from "./capture_topics.ts";
import type { Capture, CapturedFile, CapturedRelation, RelationColumn, RelationName } from "./catalog.ts";
import { type CatalogDeps, unknownTable } from "./lake_catalog.ts";

/** Letters that `dead_letters` has: the newest. */
const LETTERS_MAX = 10_000;
/** Rows from memory in one question, of all relations together. */
const ROWS_MAX = 8_000_000;

export interface CaptureWorkOptions {
  readonly folder: CaptureFolder;
  readonly signal: AbortSignal;
}

/** Disposing lets go of all files. */
export class CaptureWork implements AsyncDisposable {
  readonly #deps: CatalogDeps;
  readonly #folder: CaptureFolder;
  readonly #signal: AbortSignal;
  readonly #held = new AsyncDisposableStack();
  readonly #budget: FetchBudget;
  readonly #reaches: Reach[] = [];
  readonly #notes: string[] = [];
  #rowsLeft: number;
  #moment!: Moment;
  readonly #tails = new Map<string, ArchiveTail>();

  constructor(deps: CatalogDeps, { folder, signal }: CaptureWorkOptions) {
    const { fetchBytesMax = Infinity, rowsMax = ROWS_MAX } = deps;
    this.#deps = deps;
    this.#folder = folder;
    this.#signal = signal;
    this.#budget = { bytesMax: fetchBytesMax, bytesLeft: fetchBytesMax };
    this.#rowsLeft = rowsMax;
  }

  /** Captures relations that there are, each once: pipelines, topics and the rest by their names; of tables that is seen here. */
  async capture(names: readonly RelationName[]): Promise<Capture> {
    this.#moment = takeMoment(names, this.#deps.pipelines);
    for (const pending of this.#moment.pending.values()) if (pending) this.#held.use(pending);
    const relations: CapturedRelation[] = [];
    for (const { name } of names.filter(({ schema }) => schema === "topics")) await this.#readTail(name);
    for (const name of names) relations.push({ name, ...await this.#relation(name) });
    return {
      relations,
      completeness: completenessOf(this.#reaches),
      notes: this.#notes,
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }

  async #readTail(topic: string): Promise<void> {
    const { archives, pipelines } = this.#deps;
    const archive = archives.find((archive) => archive.topic === topic)!;
    const tail = this.#held.use(await archive.tail({ signal: this.#signal }));
    this.#tails.set(archive.table, tail);
    this.#reaches.push(tailReach(topic, tail, pipelines.map(({ plan }) => plan)));
  }

  #relation(name: RelationName): Promise<Omit<CapturedRelation, "name">> {
    switch (name.schema) {
      case "lake":
        return this.#table(name);
      case "topics":
        return Promise.resolve(this.#topic(name));
      case "live":
        return this.#live(name);
      case "results":
        return this.#results(name);
      case null:
        return name.name === "ledger" ? this.#ledger() : this.#letters();
    }
  }

  async #table(name: RelationName): Promise<Omit<CapturedRelation, "name">> {
    const snapshot = name.at === undefined ? await this.#current(name.name) : await this.#earlier(name);
    const files = await this.#local(snapshot, name);
    if (name.at !== undefined) this.#reaches.push(...archiveReach(snapshot));
    return { columns: columnsOf(snapshot), files };
  }

  /** A table's newest version; or the one that something else in the question goes on from. */
  async #current(table: string): Promise<Snapshot> {
    const { lake, pipelines } = this.#deps;
    const tail = this.#tails.get(table);
    if (tail) return tail.snapshot;
    const pipeline = pipelines.find((pipeline) => resultTable(pipeline) === table);
    const pending = pipeline && this.#moment.pending.get(pipeline.plan.name);
    if (pipeline && pending?.snapshot) {
      await this.#noteSettled(pipeline.plan, pending);
      return pending.snapshot;
    }
    const opened = await lake.table(table, { signal: this.#signal });
    if (opened === null) throw await unknownTable(this.#deps, table);
    const snapshot = await opened.snapshot({ signal: this.#signal });
    this.#reaches.push(...archiveReach(snapshot));
    return snapshot;
  }

  /** How far a table of results has what its pipeline read: to its last commit, but for what waits. */
  async #noteSettled({ name, topic, window: { sizeMs } }: Plan, pending: PendingRows): Promise<void> {
    const settled = this.#moment.settled.get(name);
    if (!settled) return;
    const offsets = new Map(settled.partitions.map(({ partition, position }) => [partition, position]));
    const watermarkMs = await tableWatermark(pending, { watermarkMs: settled.watermarkMs, sizeMs });
    this.#reaches.push({ topic, offsets, watermarkMs });
  }

  async #earlier({ name, at }: RelationName): Promise<Snapshot> {
    const opened = await this.#deps.lake.table(name, { signal: this.#signal });
    if (opened === null) throw await unknownTable(this.#deps, name);
    const snapshot = await opened.at(at!, { signal: this.#signal });
    if (snapshot !== null) return snapshot;
    const when = "version" in at! ? `version ${at.version}` : `state as of ${new Date(at!.timeMs).toISOString()}`;
    throw new QueryError("sql", `lake.${name} has no ${when}; GET /v1/lake/${name} lists the versions that it has`);
  }

  async #local(snapshot: Snapshot, { at, within }: Pick<RelationName, "at" | "within">): Promise<CapturedFile[]> {
    const { store } = this.#deps.lake;
    try {
      const files = filesWithin(snapshot, within);
      const local = await localFiles(store, snapshot, { files, budget: this.#budget, signal: this.#signal });
      this.#held.use(local.held);
      return local.files;
    } catch (error) {
      if (!(error instanceof MissingObjectError)) throw error;
      const problem = `lake.${snapshot.table} at version ${snapshot.version}: ${error.message}`;
      if (at !== undefined) throw new QueryError("sql", `${problem}: what is older than the retention was vacuumed`);
      throw new UnavailableError(`${problem}. Ask again`);
    }
  }

  #topic({ name }: RelationName): Omit<CapturedRelation, "name"> {
    const archive = this.#deps.archives.find(({ topic }) => topic === name)!;
    const { snapshot, path } = this.#tails.get(archive.table)!;
    return { columns: columnsOf(snapshot), files: path === null ? [] : [{ path, partitions: {} }] };
  }

  async #live({ name }: RelationName): Promise<Omit<CapturedRelation, "name">> {
    const { plan } = this.#deps.pipelines.find(({ plan }) => plan.name === name)!;
    const unsettled = this.#moment.unsettled.get(name)!;
    this.#noteUnsettled(plan, unsettled);
    return await this.#rows(unsettled.open, { columns: resultColumns(plan), what: `live.${name}` });
  }

  async #results({ name }: RelationName): Promise<Omit<CapturedRelation, "name">> {
    const { plan } = this.#deps.pipelines.find(({ plan }) => plan.name === name)!;
    const unsettled = this.#moment.unsettled.get(name)!;
    const pending = this.#moment.pending.get(name);
    if (!pending?.snapshot) {
      throw new UnavailableError(
        `results.${name}: the pipeline has not seen its table in the lake yet. Ask again when it runs, or ask live.${name}`,
      );
    }
    this.#noteUnsettled(plan, unsettled);
    const { snapshot } = pending;
    const { open } = unsettled;
    const underWay = unsettled.underWay && finalRows(unsettled.underWay);
    this.#take(pending.length + (underWay?.length ?? 0) + open.length, `results.${name}`);
    const paths = (await this.#local(snapshot, {})).map(({ path }) => path);
    const folder = await this.#newFolder();
    const options = { plan, folder, signal: this.#signal };
    const parts = { table: { snapshot, paths }, pending, underWay, open };
    const files = await this.#folder.use(this.#signal, (connection) => captureResults(connection, parts, options));
    return { columns: resultColumns(plan).map(relationColumn), files };
  }

  /** How far a pipeline has read: its open windows count so far. */
  #noteUnsettled({ topic }: Plan, { positions, watermarkMs }: Unsettled): void {
    this.#reaches.push({ topic, offsets: positions, watermarkMs });
  }

  async #ledger(): Promise<Omit<CapturedRelation, "name">> {
    const { ledgers } = this.#moment;
    // Beside others it says nothing of how far they are.
    for (const { topic, entries } of ledgers) {
      if (this.#reaches.some((reach) => reach.topic === topic)) continue;
      const offsets = new Map(entries.map(({ partition, position }) => [partition, position]));
      this.#reaches.push({ topic, offsets, watermarkMs: null });
    }
    return await this.#rows(ledgerRows(ledgers), { columns: LEDGER_COLUMNS, what: "ledger" });
  }

  async #letters(): Promise<Omit<CapturedRelation, "name">> {
    const { letters, lettersMax: most = LETTERS_MAX } = this.#deps;
    const { rows, isAll } = await letterRows(letters!, { most, signal: this.#signal });
    if (!isAll) this.#notes.push(`dead_letters has the newest ${most} late records and dead letters; there are more`);
    return await this.#rows(rows, { columns: LETTER_COLUMNS, what: "dead_letters" });
  }

  async #rows(
    rows: ResultRows,
    { columns, what }: { readonly columns: readonly ResultColumn[]; readonly what: string },
  ): Promise<Omit<CapturedRelation, "name">> {
    this.#take(rows.length, what);
    const shown = columns.map(relationColumn);
    if (rows.length === 0) return { columns: shown, files: [] };
    const path = `${await this.#newFolder()}/rows.parquet`;
    await this.#folder.use(this.#signal, async (connection) => {
      await stage(connection, [rows], { table: "staged", columns, signal: this.#signal });
      await copy(connection, stagedSql("staged", columns), path);
    });
    return { columns: shown, files: [{ path, partitions: {} }] };
  }

  /** @throws QueryError when the rows of all relations together are too many */
  #take(rows: number, what: string): void {
    this.#rowsLeft -= rows;
    if (this.#rowsLeft >= 0) return;
    const most = this.#deps.rowsMax ?? ROWS_MAX;
    throw new QueryError("sql", `${what} has ${rows} rows in memory; a question takes ${most} of them at most`);
  }

  async #newFolder(): Promise<string> {
    const folder = await this.#folder.make();
    this.#held.defer(() => this.#folder.remove(folder));
    return folder;
  }
}

function columnsOf({ schema }: Snapshot): RelationColumn[] {
  return schema.fields.map(({ name, type }) => ({ name, type: duckdbType(type) }));
}
