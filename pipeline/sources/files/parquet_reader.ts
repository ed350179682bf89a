/**
 * Parquet files as rows, read by DuckDB a few thousand at a time.
 *
 * @module
 */
import { DuckDBBlobValue, type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { RecordType } from "../../codec/schema.ts";
import { type Fault, UnavailableError } from "../../errors.ts";
import type { ResultValue } from "../../sinks/sink.ts";
import { literal } from "../../sql_text.ts";
import { avroNames, fieldValues, type FileColumn, wholeNumber } from "../file_replay_schema.ts";
import { type Block, FileFault, type FileReader, type Item } from "./file_reader.ts";

const MEMORY_LIMIT = "512MB";
const THREADS = 2;

/** A reader of Parquet; places are row numbers. */
export function parquetReader(record: RecordType, onIgnored: (columns: readonly string[]) => void): FileReader {
  return {
    async *read(path, from) {
      // DuckDB opens files without asking: this asks.
      (await Deno.open(path)).close();
      const instance = await DuckDBInstance.create(":memory:", {
        memory_limit: MEMORY_LIMIT,
        threads: String(THREADS),
        autoinstall_known_extensions: "false",
      });
      const connection = await instance.connect();
      try {
        await connection.run("SET TimeZone = 'UTC'");
        yield* rows(connection, path, { record, from: from.offset, onIgnored });
      } finally {
        connection.closeSync();
        instance.closeSync();
      }
    },
  };
}

async function* rows(
  connection: DuckDBConnection,
  path: string,
  { record, from, onIgnored }: {
    readonly record: RecordType;
    readonly from: number;
    readonly onIgnored: (columns: readonly string[]) => void;
  },
): AsyncGenerator<Block> {
  // In DuckDB's paths these stand for other characters; a bracket makes a set of one.
  const file = literal(path.replace(/[*?[]/g, (character) => `[${character}]`));
  const described = await told(() => connection.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet(${file})`));
  const columns: FileColumn[] = described.getRows().map(([name, type]) => ({ name: String(name), type: String(type) }));
  const faults: Fault[] = [];
  const values = fieldValues(record, columns, faults);
  if (faults.length > 0) {
    throw new FileFault(`does not fit: ${faults.map(({ where, problem }) => `${where}: ${problem}`).join("; ")}`);
  }
  const known = new Set(
    record.fields.flatMap(({ name, aliases }) => [name, ...aliases]).map((name) => name.toLowerCase()),
  );
  const ignored = avroNames(columns).filter((name) => !known.has(name.toLowerCase()));
  if (ignored.length > 0) onIgnored(ignored);
  const counted = await told(() => connection.runAndReadAll(`SELECT count(*) FROM read_parquet(${file})`));
  const total = Number(counted.getRows()[0][0]);
  const selected = values.map(({ sql }, i) => `${sql} AS c${i}`).join(", ");
  const sql = `SELECT ${selected} FROM read_parquet(${file}, file_row_number = true) WHERE file_row_number >= ${from}`;
  let offset = from;
  const result = await told(() => connection.stream(sql));
  for (;;) {
    const chunk = await told(() => result.fetchChunk());
    if (chunk === null || chunk.rowCount === 0) break;
    const read = chunk.getColumns() as unknown[][];
    const items = Array.from({ length: chunk.rowCount }, (_, row): Item => {
      const value: Record<string, unknown> = {};
      for (let i = 0; i < values.length; i++) {
        const cell = read[i][row];
        const bare = cell instanceof DuckDBBlobValue ? cell.bytes : cell as ResultValue;
        value[record.fields[i].name] = values[i].whole ? wholeNumber(bare) : bare;
      }
      return { line: offset + row + 1, value, raw: () => new TextEncoder().encode(JSON.stringify(value, shown)) };
    });
    offset += chunk.rowCount;
    yield { items, bytes: 64 * chunk.rowCount, after: { offset, line: offset + 1 } };
  }
  if (offset >= total) return;
  // A stream that fails in its middle ends without a word: the same query, not streamed, says what it failed of.
  await told(() => connection.runAndReadAll(`SELECT count(COLUMNS(*)) FROM (${sql})`));
  throw new FileFault(`ends after ${offset} of ${total} rows`);
}

function shown(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? value.toBase64() : value;
}

/** The system's words, which DuckDB quotes, for a disk or a network folder that fails. */
const DISK = /: (Input\/output error|Stale file handle|Transport endpoint is not connected|Connection timed out)/;

/** DuckDB's own words for what is wrong with a file, without its hints about SQL. */
async function told<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const [first] = (error as Error).message.split("\n\n");
    // The file may be fine: what reads it again, later, finds out.
    if (DISK.test(first)) throw new UnavailableError(first.replaceAll(/\s+/g, " ").slice(0, 300));
    throw new FileFault(`cannot be read: ${first.replaceAll(/\s+/g, " ").slice(0, 300)}`);
  }
}
