/**
 * Records of one writer schema into staged columns.
 *
 * @module
 */
import { readJson } from "../../../codec/avro_json.ts";
import type { Decoder } from "../../../codec/decoder.ts";
import { FRAME_BYTES } from "../../../codec/framing.ts";
import { createDecoder } from "../../../codec/projection.ts";
import { type AvroType, parseSchema } from "../../../codec/schema.ts";
import { type BadRow, type Column, Columns, type FieldType, numberAt } from "../../../columns.ts";
import { ConfigError, MalformedRecordError } from "../../../errors.ts";
import type { Records } from "../../../log/records.ts";
import { AHEAD_MS_MAX, TIME_RANGE_MS } from "../../../operators/window_aggregate.ts";
import type { AvroSchema } from "../../../plan/plan.ts";
import { ARCHIVE_COLUMNS_MAX, type ArchiveColumns, type WrittenField } from "./archive_columns.ts";
import { EnumTexts } from "../columns/enum_texts.ts";
import type { HeldRows } from "../columns/held_rows.ts";
import { BLOCK_ROWS_MAX } from "../columns/block_column.ts";
import { TextSource } from "../columns/text_words.ts";

/** Where the rows of a run go. */
export interface RunPlace {
  /** The block being filled has room for them. */
  readonly held: HeldRows;
  /** Index of the archive's first field among the columns. */
  readonly firstField: number;
}

/** What became of a run. */
export interface FilledRun {
  /** How many rows were added. */
  readonly added: number;
  /** For each of them its row in the records; valid until the next run. */
  readonly source: Int32Array;
  /** Why rows among those added lack fields, by their place among them. */
  readonly faults: ReadonlyMap<number, string>;
  /** Rows of the records that were not added, and why. */
  readonly undecoded: readonly BadRow[];
  /** The greatest event time, milliseconds since the epoch; -Infinity for none. */
  readonly maxEventTimeMs: number;
}

interface DecodedField {
  readonly field: WrittenField;
  readonly type: FieldType;
  readonly symbols: EnumTexts | null;
}

/** How records written with one schema are read into the archive's columns. */
export class WrittenSchema {
  readonly #type: AvroType;
  readonly #archive: ArchiveColumns;
  readonly #decoder: Decoder;
  readonly #columns: Columns;
  readonly #decoded: readonly DecodedField[];
  readonly #asJson: readonly WrittenField[];
  /** Which of the decoded fields says when a record happened; -1 for none. */
  readonly #eventTime: number;

  /** @throws ConfigError when the schema is none */
  constructor(schema: AvroSchema, archive: ArchiveColumns, { eventTime }: { readonly eventTime: string | null }) {
    this.#type = parseSchema(schema, "writer schema");
    this.#archive = archive;
    const { fields, left } = archive.admit(this.#type);
    if (left.length > 0) {
      const problem = `has more fields than an archive has columns for (${ARCHIVE_COLUMNS_MAX}), such as ${left[0]}`;
      throw new ConfigError({ where: "writer schema", problem });
    }
    this.#decoded = fields.flatMap((field) => {
      const { type } = field;
      if (type === null) return [];
      return [{ field, type, symbols: type.type === "enum" ? new EnumTexts(type.symbols) : null }];
    });
    this.#asJson = fields.filter(({ type }) => type === null);
    this.#eventTime = this.#decoded.findIndex(({ field }) => field.path === eventTime);
    const planned = this.#decoded.map(({ field, type }) => ({ path: field.path, type }));
    this.#decoder = createDecoder({ writer: schema, reader: schema, fields: planned });
    this.#columns = new Columns(planned.map(({ type }) => type), BLOCK_ROWS_MAX);
  }

  /** Adds the rows `[from, to)` of `records` behind those that there are. */
  fill(records: Records, range: { readonly from: number; readonly to: number }, place: RunPlace): FilledRun {
    const columns = this.#columns;
    this.#decoder.decode(records, range.from, range.to, columns);
    const { held, firstField } = place;
    const { length } = columns;
    const at = { base: held.filled, length };
    const faults = new Map<number, string>();
    const note = (row: number, fault: string) => {
      const before = faults.get(row);
      faults.set(row, before === undefined ? fault : `${before}; ${fault}`);
    };
    for (let i = 0; i < this.#decoded.length; i++) {
      const { field, symbols } = this.#decoded[i];
      const decoded = columns.columns[i];
      const from = symbols === null ? decoded : symbols.of(decoded, length);
      const refuse = (row: number, problem: string) => note(row, `${field.path} ${problem}`);
      held.columns[firstField + field.column].add(from, at, refuse);
    }
    if (this.#asJson.length > 0) this.#fillJson(records, place, note);
    held.added(length);
    const maxEventTimeMs = this.#eventTime < 0 ? -Infinity : latest(columns.columns[this.#eventTime], columns, records);
    return { added: length, source: columns.source, faults, undecoded: columns.bad, maxEventTimeMs };
  }

  /** Fields that no column holds, as JSON text. `refuse` is told of what is beyond the bounds of what is shown as JSON. */
  #fillJson(records: Records, { held, firstField }: RunPlace, refuse: (row: number, problem: string) => void): void {
    for (let i = 0; i < this.#columns.length; i++) {
      const row = this.#columns.source[i];
      const value = records.data.subarray(records.valueStart[row] + FRAME_BYTES, records.valueEnd[row]);
      let json: unknown;
      try {
        json = readJson(this.#type, value);
      } catch (error) {
        if (!(error instanceof MalformedRecordError)) throw error;
        refuse(i, error.message);
        continue;
      }
      for (const { path, column } of this.#asJson) {
        const found = path.split(".").reduce<unknown>(
          (inside, name) => (inside as Record<string, unknown> | null)?.[name] ?? null,
          json,
        );
        if (found === null) continue;
        const text = new TextSource(new TextEncoder().encode(JSON.stringify(found)));
        held.columns[firstField + column].texts!.set(held.filled + i, text);
      }
    }
  }
}

/** The greatest of an event time column, in milliseconds, but for those that a pipeline would not believe. */
function latest({ type, ints, nulls }: Column, { source, length }: Columns, { timestamps }: Records): number {
  let most = -Infinity;
  const unit = type.type === "date" ? 86_400_000 : type.type === "timestamp-micros" ? 1 / 1000 : 1;
  for (let i = 0; i < length; i++) {
    if (nulls[i] !== 0) continue;
    const value = (type.type === "date" ? ints[i] : numberAt(ints, i)) * unit;
    const own = timestamps[source[i]];
    if (value > most && value <= TIME_RANGE_MS.most && (own < 0 || value <= own + AHEAD_MS_MAX)) most = value;
  }
  return Math.floor(most);
}
