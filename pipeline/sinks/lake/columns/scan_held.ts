/**
 * Rows in memory as a relation of DuckDB's: a table function that copies a block into each of DuckDB's chunks when it asks for one,
 * on the thread that has the rows.
 *
 *     held columns ▶ tailrace_held('3') ▶ COPY (FROM tailrace_held('3')) TO ...
 *
 * Nothing is staged: DuckDB's threads write Parquet of some blocks while this thread copies the next. A text with a code is an
 * ENUM's; all others are as `text_words.ts` draws them, their bytes in the chunk's own memory.
 *
 * @module
 */
import {
  type DuckDBConnection,
  DuckDBTableFunction,
  type DuckDBTableFunctionBindInfo,
  type DuckDBType,
  ENUM,
  VARCHAR,
} from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import type { CodedColumn } from "../parquet_files.ts";
import type { HeldRows } from "./held_rows.ts";
import type { HeldTextBlock } from "./held_texts.ts";
import { BLOCK_ROWS_MAX } from "./block_column.ts";
import type { TextCodes } from "./text_codes.ts";
import { INLINE_BYTES_MAX } from "./text_words.ts";

const FUNCTION = "tailrace_held";
const WORD = 4294967296;
const TEXT_BYTES = 16;

/** The rows there are now as a relation, until it is disposed of. */
export interface HeldScan extends Disposable {
  /** As behind FROM. */
  readonly sql: string;
  /** Columns that are ENUMs in it. */
  readonly coded: readonly CodedColumn[];
}

/** How far one query is. */
interface Progress {
  readonly relation: Relation;
  next: number;
}

/** The scans of one database: DuckDB has the function once, and does not forget it. */
export class HeldScans {
  /** By name. */
  readonly #relations = new Map<string, Relation>();
  #named = 0;

  /** @param connection any of the database's; with nothing under way on it, as this waits for that */
  constructor(connection: DuckDBConnection) {
    connection.registerTableFunction(DuckDBTableFunction.create({
      name: FUNCTION,
      parameterTypes: [VARCHAR],
      bindFunction: (info) => this.#bind(info),
      initFunction: (info) => {
        // Each thread asks for as many blocks as it can write.
        info.setMaxThreads(THREADS_MAX);
        const progress: Progress = { relation: info.getBindData() as Relation, next: 0 };
        info.setInitData(progress);
      },
      mainFunction: (info, out) => {
        const progress = info.getInitData() as Progress;
        // The API's own chunk goes about it a value at a time.
        const { chunk } = out as unknown as { readonly chunk: duckdb.DataChunk };
        progress.relation.fill(chunk, progress.next++);
      },
    }));
  }

  /** Lets any connection of the database ask for the rows. */
  add(held: HeldRows): HeldScan {
    const name = String(++this.#named);
    const relation = new Relation(held);
    this.#relations.set(name, relation);
    return {
      sql: `${FUNCTION}('${name}')`,
      coded: relation.columns.flatMap(({ name, codes, codeWidth }) =>
        codes === null || codeWidth === 0 ? [] : [{ name, ...codes.bounds() }]
      ),
      [Symbol.dispose]: () => void this.#relations.delete(name),
    };
  }

  #bind(info: DuckDBTableFunctionBindInfo): void {
    const name = String(info.getParameter(0));
    const relation = this.#relations.get(name);
    if (relation === undefined) {
      info.setError(`no rows are held as ${name}`);
      return;
    }
    for (const { name, type } of relation.columns) info.addResultColumn(name, type);
    info.setCardinality(relation.rows, true);
    info.setBindData(relation);
  }
}

/** DuckDB takes no more than it was opened with. */
const THREADS_MAX = 64;

interface ScannedColumn {
  readonly name: string;
  readonly type: DuckDBType;
  /** Bytes of one value; 0 for texts. */
  readonly width: number;
  /** Null where no row has a value. */
  readonly blocks: readonly (Uint8Array | null)[];
  readonly texts: readonly (HeldTextBlock | null)[];
  /** Null where all rows have one. */
  readonly valid: readonly (Uint8Array | null)[];
  /** Of those of its texts that have any. */
  readonly codes: TextCodes | null;
  /** Bytes of a code where the column is an ENUM; 0 where some texts have no code, and all are written as texts. */
  readonly codeWidth: 0 | 1 | 2;
  /** By code, as `TextCodes.entries`, where it is none. */
  readonly entries: Int32Array | null;
}

class Relation {
  readonly columns: readonly ScannedColumn[];
  readonly rows: number;
  readonly #blockRows: readonly number[];
  readonly #narrow = new Uint8Array(BLOCK_ROWS_MAX);
  readonly #entries = new Int32Array(4 * BLOCK_ROWS_MAX);
  readonly #nothing = new ArrayBuffer(TEXT_BYTES * BLOCK_ROWS_MAX);

  constructor(held: HeldRows) {
    held.end();
    this.rows = held.rows;
    // Blocks stay as they are; those that come later are not of this relation.
    this.#blockRows = held.blockRows.slice();
    this.columns = held.columns.map(({ name, type, width, blocks, texts, valid }) => {
      const codes = texts !== null && texts.codes !== null && texts.codes.length > 0 ? texts.codes : null;
      const coded = codes !== null && texts!.isCoded ? enumOf(codes.texts()) : null;
      return {
        name,
        type: coded?.type ?? type,
        width: texts === null ? width : 0,
        blocks: blocks.slice(),
        texts: texts?.blocks.slice() ?? [],
        valid: valid.slice(),
        codes,
        codeWidth: coded?.codeWidth ?? 0,
        entries: codes !== null && coded === null ? codes.entries() : null,
      };
    });
  }

  /** Puts a block into DuckDB's chunk; no rows after the last. */
  fill(chunk: duckdb.DataChunk, block: number): void {
    const rows = this.#blockRows[block] ?? 0;
    duckdb.data_chunk_set_size(chunk, rows);
    if (rows === 0) return;
    for (let i = 0; i < this.columns.length; i++) {
      const column = this.columns[i];
      const vector = duckdb.data_chunk_get_vector(chunk, i);
      const valid = column.valid[block];
      if (valid !== null) {
        duckdb.vector_ensure_validity_writable(vector);
        duckdb.copy_data_to_vector_validity(vector, 0, valid.buffer as ArrayBuffer, 0, valid.length);
      }
      if (column.width === 0) this.#fillTexts(vector, column, { block, rows });
      else {
        const values = column.blocks[block];
        if (values !== null) {
          duckdb.copy_data_to_vector(vector, 0, values.buffer as ArrayBuffer, 0, rows * column.width);
        }
      }
    }
  }

  #fillTexts(
    vector: duckdb.Vector,
    { texts, codes, codeWidth, entries }: ScannedColumn,
    { block, rows }: { readonly block: number; readonly rows: number },
  ): void {
    const values = texts[block];
    // What is null must be no address, and no code that there is not.
    if (values === null) duckdb.copy_data_to_vector(vector, 0, this.#nothing, 0, rows * (codeWidth || TEXT_BYTES));
    else if (values.codes === null) this.#fillEntries(vector, values.entries, values.bytes);
    else if (codeWidth > 0) this.#fillCodes(vector, values.codes, rows, codeWidth);
    else {
      const found = new Int32Array(4 * rows);
      for (let row = 0; row < rows; row++) {
        const entry = 4 * values.codes[row];
        for (let word = 0; word < 4; word++) found[4 * row + word] = entries![entry + word];
      }
      this.#fillEntries(vector, found, codes!.allBytes);
    }
  }

  #fillCodes(vector: duckdb.Vector, codes: Uint16Array, rows: number, width: number): void {
    if (width === 2) return duckdb.copy_data_to_vector(vector, 0, codes.buffer as ArrayBuffer, 0, 2 * rows);
    this.#narrow.set(codes);
    duckdb.copy_data_to_vector(vector, 0, this.#narrow.buffer as ArrayBuffer, 0, rows);
  }

  /** Longer texts get the addresses that their bytes have in the vector's memory. */
  #fillEntries(vector: duckdb.Vector, words: Int32Array, bytes: Uint8Array): void {
    if (bytes.length <= INLINE_BYTES_MAX) {
      duckdb.copy_data_to_vector(vector, 0, words.buffer as ArrayBuffer, 0, words.byteLength);
      return;
    }
    // As one text of the first row, which is then overwritten.
    duckdb.vector_assign_string_element_len(vector, 0, bytes);
    const first = duckdb.vector_get_data(vector, TEXT_BYTES);
    const view = new DataView(first.buffer, first.byteOffset, TEXT_BYTES);
    // It takes no text that is not UTF-8, and does not say so: there would be no address.
    if (view.getUint32(0, true) !== bytes.length) throw new Error("DuckDB did not take the texts of a block");
    const [low, high] = [view.getUint32(8, true), view.getUint32(12, true)];
    const entries = this.#entries;
    entries.set(words);
    for (let word = 0; word < words.length; word += 4) {
      if (entries[word] <= INLINE_BYTES_MAX) continue;
      const place = low + entries[word + 2];
      entries[word + 2] = place;
      entries[word + 3] = place >= WORD ? high + 1 : high;
    }
    duckdb.copy_data_to_vector(vector, 0, entries.buffer as ArrayBuffer, 0, words.byteLength);
  }
}

function enumOf(texts: readonly string[]): { readonly type: DuckDBType; readonly codeWidth: 1 | 2 } {
  const type = ENUM(texts);
  // Made anew for every use else, out of all texts.
  const logical = type.toLogicalType();
  type.toLogicalType = () => logical;
  return { type, codeWidth: duckdb.enum_internal_type(logical.logical_type) === duckdb.Type.UTINYINT ? 1 : 2 };
}
