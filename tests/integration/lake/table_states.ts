/**
 * One table through all that becomes of a table, with the rows that each state must have. Values are what readers get wrong: nulls,
 * extremes, quotes, times far away.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type {
  DeltaField,
  DeltaSchema,
  DeltaTable,
  DeltaType,
  Snapshot,
} from "../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../pipeline/sinks/lake/lake.ts";
import { readFilesSql, writeFiles } from "../../../pipeline/sinks/lake/parquet_files.ts";
import type { Cell, TableRow } from "../../lake/rows.ts";

export const TABLE = "orders";

const field = (name: string, type: DeltaType): DeltaField => ({ name, type, nullable: true, metadata: {} });

const FIELDS: readonly DeltaField[] = [
  field("id", "long"),
  field("account", "string"),
  field("amount", "decimal(18,2)"),
  field("wide", "decimal(38,6)"),
  field("ratio", "double"),
  field("paid", "boolean"),
  field("raw", "binary"),
  field("at", "timestamp"),
  field("born", "date"),
  field("slot", "integer"),
  field("who", { type: "struct", fields: [field("country", "string"), field("rank", "long")] }),
  field("headers", {
    type: "array",
    containsNull: false,
    elementType: { type: "struct", fields: [field("key", "string"), field("value", "binary")] },
  }),
];
const DAY = field("day", "date");
const ADDED = field("note", "string");

const schemaOf = (...fields: readonly DeltaField[]): DeltaSchema => ({ type: "struct", fields });
const FIRST_SCHEMA = schemaOf(...FIELDS, DAY);
const LATER_SCHEMA = schemaOf(...FIELDS, ADDED, DAY);
/** A column with another type: all files are written anew. */
const WIDE_SCHEMA = schemaOf(...FIELDS.map((one) => one.name === "slot" ? field("slot", "double") : one), ADDED, DAY);

const ACCOUNTS = ["acc-1", "", 'O\'Hara "x" \\ ; --', "Zoë 🚚", null];
const WIDE = ["99999999999999999999999999999999.999999", "-0.000001", null];
const RATIOS = [0.1, -1e300, 5e-324, "nan", "inf", "-inf", null, 3];
const RAW = ["", "00ff", null];
/** Microseconds: the first and last that every reader knows, one before the epoch, one with all digits. */
const TIMES = ["-62135596800000000", "253402300799999999", "-1", "1795222923456789", null];
const DATES = ["0001-01-01", "9999-12-31", "1969-12-31", null];
const LONGS = ["-9223372036854775808", "9223372036854775807", "0"];
const HEADERS: readonly Cell[] = [null, [], [{ key: "k", value: "01" }, { key: null, value: null }]];

/** Row `n`, as readers give it. */
export function row(n: number, day: string | null): TableRow {
  const at = <T>(list: readonly T[]) => list[n % list.length];
  return {
    id: n < LONGS.length ? LONGS[n] : String(n),
    account: at(ACCOUNTS),
    amount: n % 7 === 6 ? null : `${n % 2 === 0 ? "" : "-"}${n}.${String(n % 100).padStart(2, "0")}`,
    wide: at(WIDE),
    ratio: at(RATIOS),
    paid: n % 3 === 2 ? null : n % 3 === 0,
    raw: at(RAW),
    at: at(TIMES),
    born: at(DATES),
    slot: n % 5 === 4 ? null : String(n - 2),
    who: n % 4 === 3 ? null : { country: n % 2 ? "NO" : null, rank: String(n) },
    headers: at(HEADERS),
    day,
  };
}

function literal(value: Cell, type: DeltaType): string {
  if (value === null) return "NULL";
  if (typeof type === "string") {
    const text = `'${String(value).replaceAll("'", "''")}'`;
    if (type === "binary") return `unhex(${text})`;
    if (type === "timestamp") return `make_timestamptz(${value}::BIGINT)`;
    const types: Readonly<Record<string, string>> = { string: "VARCHAR", long: "BIGINT" };
    return `${text}::${types[type] ?? type.toUpperCase()}`;
  }
  if (type.type === "array") {
    return `[${(value as readonly Cell[]).map((item) => literal(item, type.elementType)).join(", ")}]`;
  }
  if (type.type === "struct") {
    const parts = type.fields.map(({ name, type: inner }) => `'${name}': ${literal((value as TableRow)[name], inner)}`);
    return `{${parts.join(", ")}}`;
  }
  throw new TypeError("no table here has maps");
}

function rowsSql(rows: readonly TableRow[], schema: DeltaSchema): string {
  return rows.map((values) =>
    `SELECT ${schema.fields.map(({ name, type }) => `${literal(values[name] ?? null, type)} AS "${name}"`).join(", ")}`
  ).join(" UNION ALL ");
}

/** What the table is at a version. */
export interface TableState {
  readonly what: string;
  readonly version: number;
  readonly rows: readonly TableRow[];
}

/** Takes the table from one state to the next. */
export class TableLife {
  readonly #lake: Lake;
  readonly #connection: DuckDBConnection;
  readonly #table: DeltaTable;
  #snapshot: Snapshot;
  #rows: readonly TableRow[] = [];
  #next = 0;
  readonly states: TableState[] = [];

  private constructor(lake: Lake, of: { connection: DuckDBConnection; table: DeltaTable; snapshot: Snapshot }) {
    this.#lake = lake;
    this.#connection = of.connection;
    this.#table = of.table;
    this.#snapshot = of.snapshot;
  }

  static async begin(lake: Lake, connection: DuckDBConnection): Promise<TableLife> {
    const table = await lake.ensureTable(TABLE, { schema: FIRST_SCHEMA, partitionColumns: ["day"] });
    const life = new TableLife(lake, { connection, table, snapshot: await table.snapshot() });
    life.#keep("empty");
    return life;
  }

  get table(): DeltaTable {
    return this.#table;
  }

  /** Appends rows to some days. */
  async append(
    days: readonly (string | null)[],
    each: number,
    options: { readonly note?: string } = {},
  ): Promise<void> {
    const fresh = days.flatMap((day) =>
      Array.from({ length: each }, () => ({
        ...row(this.#next++, day),
        ...("note" in this.#blank() ? { note: options.note ?? null } : {}),
      }))
    );
    const add = await this.#write(rowsSql(fresh, this.#snapshot.schema));
    await this.#commit({ operation: "WRITE", add });
    this.#rows = [...this.#rows, ...fresh];
    this.#keep(`after an append to ${days.length} days`);
  }

  /** A column more: older files do not have it. */
  async addColumn(): Promise<void> {
    await this.#commit({ operation: "ADD COLUMNS", schema: LATER_SCHEMA });
    this.#rows = this.#rows.map((values) => ({ ...values, note: null }));
    this.#keep("after a column was added");
  }

  /** A column's type widened: every file is written anew. */
  async widenColumn(): Promise<void> {
    const remove = this.#snapshot.files;
    const sql = await this.#readSql(remove);
    const add = await this.#write(sql, WIDE_SCHEMA);
    await this.#commit({ operation: "CHANGE COLUMNS", schema: WIDE_SCHEMA, add, remove });
    this.#rows = this.#rows.map((values) => ({ ...values, slot: values.slot === null ? null : Number(values.slot) }));
    this.#keep("after a column was widened");
  }

  /** Replaces rows of one day, as an upsert does. */
  async merge(day: string, note: string): Promise<void> {
    const remove = this.#snapshot.files.filter(({ partitionValues }) => partitionValues.day === day);
    const sql = `SELECT * REPLACE (CASE WHEN id % 2 = 0 THEN '${note}' ELSE note END AS note) FROM (${await this
      .#readSql(remove)})`;
    const add = await this.#write(sql);
    await this.#commit({ operation: "MERGE", add, remove });
    this.#rows = this.#rows.map((values) =>
      values.day === day && BigInt(values.id as string) % 2n === 0n ? { ...values, note } : values
    );
    this.#keep("after a merge");
  }

  /** Takes note of what something else made of the table, which left its rows as they were. */
  async rested(what: string): Promise<void> {
    this.#snapshot = await this.#table.snapshot();
    this.#keep(what);
  }

  #blank(): Readonly<Record<string, null>> {
    return Object.fromEntries(this.#snapshot.schema.fields.map(({ name }) => [name, null]));
  }

  async #readSql(files: Snapshot["files"]): Promise<string> {
    const keys = files.map(({ path }) => `${TABLE}/${decodeURIComponent(path)}`);
    using local = await this.#lake.store.local(keys);
    const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
    return readFilesSql(found, this.#snapshot.schema, this.#snapshot.partitionColumns);
  }

  async #write(sql: string, schema = this.#snapshot.schema) {
    return await writeFiles(this.#connection, sql, {
      store: this.#lake.store,
      table: TABLE,
      schema,
      partitionColumns: ["day"],
    });
  }

  async #commit(change: Parameters<DeltaTable["commit"]>[0]): Promise<void> {
    const { snapshot } = await this.#table.commit(change, { base: this.#snapshot });
    this.#snapshot = snapshot;
  }

  #keep(what: string): void {
    this.states.push({ what, version: this.#snapshot.version, rows: this.#rows });
  }
}
