/**
 * From the log's messages to records.
 *
 * @module
 */
import type { Clock } from "../../clock.ts";
import { ConfigError, UnavailableError } from "../../errors.ts";
import type { SourceRecord } from "../source.ts";
import type { BatchBuilder } from "./batch_builder.ts";
import { sqlName, type TableInfo } from "./catalog.ts";
import { int32At } from "./lsn.ts";
import { type Begin, type LogStream, Pg, readBegin, readCommitEnd, readRelation, readRow } from "./log_stream.ts";
import type { RelationMessage } from "./log_stream.ts";
import type { Progress } from "./position.ts";
import { type Cells, type Origin, type Relation, type RelationColumn, UNCHANGED } from "./relation.ts";
import type { Snapshot } from "./snapshot.ts";

/** A table as its changes come now. */
export interface Followed {
  readonly table: TableInfo;
  readonly relation: Relation;
  /** Where the values of the rows of a change lie. */
  readonly before: Cells;
  readonly after: Cells;
}

export interface ChangeReaderOptions {
  readonly stream: LogStream;
  readonly progress: Progress;
  readonly tables: ReadonlyMap<string, TableInfo>;
  /** Transactions committed from here on are left; null to read on for ever. */
  readonly until: number | null;
  /** Whose tables are being read, while they are. */
  readonly snapshot: Snapshot | null;
  readonly builder: BatchBuilder;
  readonly clock: Clock;
  readonly follow: (table: TableInfo, columns: readonly RelationColumn[]) => Promise<Followed>;
}

export class ChangeReader {
  readonly #options: ChangeReaderOptions;
  readonly #builder: BatchBuilder;
  /** By the relation's number; null for what is not wanted. */
  readonly #followed = new Map<number, Followed | null>();
  #begin: Begin | null = null;
  /** Of the transaction, so many changes came .. */
  #index = 0;
  /** .. of which the first so many are in the topics. */
  #known = 0;
  #nowMs = 0;
  /** The server waits for a word, to end perhaps. */
  isAsked = false;

  constructor(options: ChangeReaderOptions) {
    this.#options = options;
    this.#builder = options.builder;
  }

  /** Records that wait. */
  get length(): number {
    return this.#builder.length;
  }

  /** Reads what is here; more may come with the next `fill` unless it ended, or is full. */
  async drain(): Promise<"waits" | "full" | "ended"> {
    const { stream, progress, until, clock } = this.#options;
    const { connection } = stream;
    this.#nowMs = clock.now();
    for (let kind = stream.tryNext(); kind !== 0; kind = stream.tryNext()) {
      if (kind === Pg.keepalive) {
        if (this.#begin === null) progress.reached(stream.walEnd);
        this.isAsked ||= stream.isAsking;
        if (stream.isAsking) stream.tell();
        if (until !== null && progress.lsn >= until && this.#begin === null) return this.#end(until);
        continue;
      }
      const { buffer } = connection;
      const at = stream.start;
      switch (buffer[at]) {
        case Pg.begin:
          this.#begin = readBegin(buffer, at);
          if (until !== null && this.#begin.commitLsn >= until) return this.#end(until);
          this.#index = 0;
          this.#known = progress.partial?.commit === this.#begin.commitLsn ? progress.partial.changes : 0;
          break;
        case Pg.commit:
          progress.reached(readCommitEnd(buffer, at));
          this.#begin = null;
          if (until !== null && progress.lsn >= until) return this.#end(until);
          break;
        case Pg.relation:
          await this.#relation(readRelation(buffer, at));
          break;
        case Pg.insert:
        case Pg.update:
        case Pg.delete:
          if (this.#next()) this.#change(buffer, at);
          break;
        case Pg.truncate:
          if (this.#next()) this.#truncate(buffer, at);
          break;
      }
      if (this.#builder.isFull) return "full";
    }
    return "waits";
  }

  /** The records that waited. */
  async take(): Promise<SourceRecord[]> {
    return this.#builder.take(await this.#inSnapshot());
  }

  #end(until: number): "ended" {
    // What comes after is another's to read.
    this.#options.progress.reached(until);
    return "ended";
  }

  /** Counts a change; false for one that is in the topics. */
  #next(): boolean {
    this.#index++;
    if (this.#index <= this.#known) return false;
    this.#options.progress.partial = { commit: this.#begin!.commitLsn, changes: this.#index };
    return true;
  }

  async #relation(message: RelationMessage): Promise<void> {
    const { oid, schema, table, identity } = message;
    const { tables, follow } = this.#options;
    // By its number: a table that is called otherwise now is still the same.
    const found = [...tables.values()].find((known) => known.oid === oid);
    if (!found) {
      if (tables.has(`${schema}.${table}`) && this.#options.snapshot === null) {
        const known = tables.get(`${schema}.${table}`)!;
        // Numbers go up: an older one was dropped before this table was made, and counts no more.
        if (oid > known.oid) {
          throw new UnavailableError(`table ${schema}.${table} was dropped and made again: looking anew`);
        }
      }
      this.#followed.set(oid, null);
      return;
    }
    const keyNames = new Set(found.key.map(({ name }) => name));
    const columns = message.columns.map((column) => ({
      name: column.name,
      type: column.type,
      modifier: column.modifier,
      // With REPLICA IDENTITY FULL every column is one of the identity.
      isKey: identity === "f" ? keyNames.has(column.name) : column.isKey,
    }));
    if (!columns.some(({ isKey }) => isKey)) {
      throw new ConfigError({
        where: `table ${found.name}`,
        problem: `nothing names its rows (any more): give it a primary key, and ALTER TABLE ${sqlName(found)} ` +
          "REPLICA IDENTITY DEFAULT",
      });
    }
    this.#followed.set(oid, await follow(found, columns));
  }

  /** The table of a change that is wanted now, or null. */
  #wanted(oid: number): Followed | null {
    const followed = this.#followed.get(oid);
    if (followed === undefined) throw new Error(`A change of relation ${oid} came before the relation`);
    if (followed === null || this.#options.snapshot === null) return followed;
    const rows = this.#options.progress.rows(followed.table.name);
    // None of its rows are in the topic: all come with the snapshot.
    return rows === "none" || rows === "again" ? null : followed;
  }

  #change(data: Uint8Array, start: number): void {
    const followed = this.#wanted(int32At(data, start + 1) >>> 0);
    if (followed === null) return;
    const { relation, before, after } = followed;
    let at = start + 5;
    const hasOld = data[at] === Pg.oldKey || data[at] === Pg.oldRow;
    if (hasOld) at = readRow(data, at + 1, before);
    if (data[start] === Pg.delete) return this.#add(followed, data, { before, after: null }, "d");
    readRow(data, at + 1, after);
    if (data[start] === Pg.insert) return this.#add(followed, data, { before: null, after }, "c");
    if (!hasOld) return this.#add(followed, data, { before: null, after }, "u");
    // A large value that did not change is in the old row, where that was sent.
    for (let i = 0; i < after.length; i += 2) {
      if (after[i] !== UNCHANGED || before[i] < 0) continue;
      after[i] = before[i];
      after[i + 1] = before[i + 1];
    }
    const [was, is] = [relation.keyTexts(data, before), relation.keyTexts(data, after)];
    if (was.every((text, i) => text === is[i])) return this.#add(followed, data, { before, after }, "u");
    // Another key is another record's.
    this.#add(followed, data, { before, after: null }, "d");
    this.#add(followed, data, { before: null, after }, "c");
  }

  #truncate(data: Uint8Array, start: number): void {
    const count = int32At(data, start + 1);
    for (let i = 0; i < count; i++) {
      const followed = this.#wanted(int32At(data, start + 6 + 4 * i) >>> 0);
      if (followed !== null) this.#add(followed, data, { before: null, after: null }, "t");
    }
  }

  #add(
    { table, relation }: Followed,
    data: Uint8Array,
    rows: { readonly before: Cells | null; readonly after: Cells | null },
    op: Origin["op"],
  ): void {
    const { commitLsn, committedAtMs, transaction } = this.#begin!;
    const { progress, snapshot } = this.#options;
    const origin = { op, lsn: commitLsn, index: this.#index, transaction, committedAtMs, nowMs: this.#nowMs };
    const isPartly = snapshot !== null && typeof progress.rows(table.name) === "object";
    this.#builder.add(relation, { data, ...rows }, origin, isPartly);
  }

  /** Those of the records that are of rows which the snapshot brings. */
  async #inSnapshot(): Promise<Set<number>> {
    const { snapshot, progress, tables } = this.#options;
    const found = new Set<number>();
    if (snapshot === null) return found;
    const kept = this.#builder.kept.map((one, place) => ({ ...one, place }));
    for (const table of tables.values()) {
      const rows = progress.rows(table.name);
      if (typeof rows !== "object") continue;
      const asked = kept.filter(({ relation, key }) => key !== null && relation.table === table.name);
      if (asked.length === 0) continue;
      const after = await snapshot.comeAfter(table, asked.map(({ key }) => key!), rows.after);
      for (const index of after) found.add(asked[index].place);
    }
    return found;
  }
}
