/**
 * A question within what is asked of DuckDB. Its text has been parsed by itself before, as one SELECT; so in brackets it is one too.
 *
 * @module
 */
import {
  type DuckDBArrayType,
  type DuckDBListType,
  type DuckDBMapType,
  type DuckDBStructType,
  type DuckDBType,
  DuckDBTypeId,
} from "@duckdb/node-api";
import { identifier } from "../../pipeline/sql_text.ts";
import type { RunOrder } from "./child_protocol.ts";
import type { AnswerColumn } from "./row_writers.ts";

/** No row of the question: its columns. */
export function emptyQuery(sql: string): string {
  return `SELECT * FROM (${sql}\n) AS answer LIMIT 0`;
}

/** Rows looked at for why they did not come; DuckDB has computed no more ahead. */
const REST_ROWS = 1_000_000;

/** One row for which every value has to be computed of the rows after so many. */
export function restQuery(sql: string, rows: number): string {
  return `SELECT bit_xor(hash(COLUMNS(*))) FROM (SELECT * FROM (${sql}\n) AS answer LIMIT ${REST_ROWS} OFFSET ${rows})`;
}

/**
 * The question's rows after a column that says `false`, and after them all one row more that says `true`. DuckDB's interface ends a
 * stream of rows that failed just as one that is through: without that last row an answer is not whole.
 */
export function endedQuery(sql: string, columns: readonly AnswerColumn[]): string {
  const nulls = columns.map(() => ", NULL").join("");
  return `SELECT false, * FROM (${sql}\n) AS answer UNION ALL SELECT true${nulls}`;
}

/**
 * The question's rows as Parquet can have them, one more than may be told to see whether there are more. DuckDB would write whole
 * numbers of 128 bits as doubles, and every `sum` of whole numbers is one: they become decimals of 38 digits, which are exact; one
 * that has 39 digits fails.
 */
export function parquetQuery(
  { sql, rowsMax, isCut }: Pick<RunOrder, "sql" | "rowsMax" | "isCut">,
  columns: readonly AnswerColumn[],
): string {
  const told = columns.map(({ name, type }, i) => {
    const exact = exactType(type);
    return `${exact === null ? `c${i}` : `c${i}::${exact}`} AS ${identifier(name)}`;
  });
  const limit = rowsMax + (isCut ? 0 : 1);
  return `SELECT ${told.join(", ")} FROM (${sql}\n) AS answer(${
    columns.map((_, i) => `c${i}`).join(", ")
  }) LIMIT ${limit}`;
}

/** The type to cast to; null where Parquet has the type's like. */
function exactType(type: DuckDBType): string | null {
  switch (type.typeId) {
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UHUGEINT:
      return "DECIMAL(38, 0)";
    case DuckDBTypeId.LIST: {
      const item = exactType((type as DuckDBListType).valueType);
      return item && `${item}[]`;
    }
    case DuckDBTypeId.ARRAY: {
      const { valueType, length } = type as DuckDBArrayType;
      const item = exactType(valueType);
      return item && `${item}[${length}]`;
    }
    case DuckDBTypeId.MAP: {
      const { keyType, valueType } = type as DuckDBMapType;
      const [key, value] = [exactType(keyType), exactType(valueType)];
      return key || value ? `MAP(${key ?? keyType}, ${value ?? valueType})` : null;
    }
    case DuckDBTypeId.STRUCT: {
      const { entryNames, entryTypes } = type as DuckDBStructType;
      const exact = entryTypes.map(exactType);
      if (exact.every((one) => one === null)) return null;
      return `STRUCT(${entryNames.map((name, i) => `${identifier(name)} ${exact[i] ?? entryTypes[i]}`).join(", ")})`;
    }
    default:
      return null;
  }
}

/** Each name once: `a`, `a_1`. */
export function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let n = 1; taken.has(unique); n++) unique = `${name}_${n}`;
    taken.add(unique);
    return unique;
  });
}
