/**
 * Appends decoded columns to a table of the lake straight out of memory, without a table of DuckDB's in between.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { Columns } from "../../../columns.ts";
import { ConfigError } from "../../../errors.ts";
import { identifier } from "../../../sql_text.ts";
import { deltaTypeOf, duckdbType } from "../delta/schema.ts";
import type { ApplicationVersion, CommitResult, DataFile, DeltaSchema, DeltaTable } from "../delta/table.ts";
import type { Lake } from "../lake.ts";
import type { StoreOptions } from "../object_store.ts";
import { writeFiles } from "../parquet_files.ts";
import { Slots } from "../slots.ts";
import { type ColumnField, HeldColumns } from "./held_columns.ts";
import type { HeldRows } from "./held_rows.ts";
import { ZSTD_LEVEL } from "./zstd_level.ts";

/** Rows are written, as a file of their own, when those in memory take so many bytes. */
export const HELD_BYTES_MAX = 256 * 1024 * 1024;

/** Rows at hand are taken for one append at a time: those of two would be in memory together, with nobody writing meanwhile. */
const TAKING = new Slots(1);

export interface AppendColumnsOptions extends StoreOptions {
  readonly table: DeltaTable;
  /** What the columns of a batch are, in their order: columns of the table, by name; others are null. */
  readonly fields: readonly ColumnField[];
  /** Rows, up to 2,048 at once. They are copied: the next batch may be in the same memory. */
  readonly batches: Iterable<Columns> | AsyncIterable<Columns>;
  /** As of a commit, that these rows are in: an append that is repeated adds nothing. */
  readonly applications?: readonly ApplicationVersion[];
  /** As `WriteFilesOptions.partitionValues`. */
  readonly partitionValues?: DataFile["partitionValues"];
  /** As `HELD_BYTES_MAX`, which is the most. */
  readonly heldBytes?: number;
}

/**
 * Appends the rows as one commit. Several may go on at once: rows at hand are taken for one while those of another are written, which is
 * what keeps two processors busy.
 *
 * @throws ConfigError when the table has not these columns
 * @throws MalformedRecordError for a value that a table cannot hold; nothing is committed then
 * @throws UnavailableError when the disk is full, memory is short or the store is away
 */
export async function appendColumns(lake: Lake, options: AppendColumnsOptions): Promise<CommitResult> {
  const { table, fields, batches, partitionValues, applications, signal } = options;
  const bytesMax = Math.min(options.heldBytes ?? HELD_BYTES_MAX, HELD_BYTES_MAX);
  const base = await table.snapshot({ signal });
  const { schema, partitionColumns } = base;
  checkFields(table.name, fields, { schema, apart: Object.keys(partitionValues ?? {}) });
  const add: DataFile[] = [];
  const write = (held: HeldRows) =>
    lake.database.use(async (connection) => {
      using scan = lake.database.scan(held);
      add.push(
        ...await writeFiles(connection, `SELECT ${selected(schema, fields)} FROM ${scan.sql}`, {
          store: lake.store,
          table: table.name,
          schema,
          partitionColumns,
          partitionValues,
          coded: scan.coded,
          zstdLevel: ZSTD_LEVEL,
          signal,
        }),
      );
    });
  const isAtHand = Symbol.iterator in batches;
  const source = isAtHand ? batches[Symbol.iterator]() : batches[Symbol.asyncIterator]();
  const take = () => takeRows(source, { fields, bytesMax, signal });
  try {
    for (;;) {
      const { held, isLast } = await (isAtHand ? TAKING.use(take, signal) : take());
      if (held.rows > 0) await write(held);
      if (isLast) break;
    }
  } finally {
    await source.return?.();
  }
  return await table.commit({ operation: "WRITE", parameters: { mode: "Append" }, add, applications }, {
    base,
    signal,
  });
}

/** Takes rows until there are no more, or as many as are held at once. */
async function takeRows(
  source: Iterator<Columns> | AsyncIterator<Columns>,
  { fields, bytesMax, signal }: {
    readonly fields: readonly ColumnField[];
    readonly bytesMax: number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<{ readonly held: HeldRows; readonly isLast: boolean }> {
  const columns = new HeldColumns(fields);
  const { held } = columns;
  do {
    const { done, value } = await source.next();
    if (done) return { held, isLast: true };
    columns.add(value);
    // DuckDB's threads ask for the rows of another append on this one.
    await setImmediate();
    signal?.throwIfAborted();
  } while (held.bytes < bytesMax);
  return { held, isLast: false };
}

function selected(schema: DeltaSchema, fields: readonly ColumnField[]): string {
  const has = new Set(fields.map(({ name }) => name));
  return schema.fields.map(({ name, type }) =>
    has.has(name) ? identifier(name) : `NULL::${duckdbType(type)} AS ${identifier(name)}`
  ).join(", ");
}

function checkFields(
  table: string,
  fields: readonly ColumnField[],
  { schema, apart }: { readonly schema: DeltaSchema; readonly apart: readonly string[] },
): void {
  const faults = fields.flatMap(({ name, type }) => {
    const found = schema.fields.find((field) => field.name === name);
    const wanted = deltaTypeOf(type);
    const where = `lake("${table}")`;
    if (apart.includes(name)) return [{ where, problem: `the partition column ${name} has one value for all rows` }];
    if (found === undefined) return [{ where, problem: `it has no column ${name}` }];
    if (found.type === wanted) return [];
    return [{ where, problem: `its column ${name} is ${JSON.stringify(found.type)} and the rows' is ${wanted}` }];
  });
  if (faults.length > 0) throw new ConfigError(faults);
}
