/**
 * What a webhook is sent:
 *
 *     { "topic": "orders", "partition": 3,
 *       "records": [ { "offset": 17, "timestamp": "2026-11-20T21:04:00.000Z", "value": { .. } }, .. ] }
 *
 * Values look as they do over REST: long beyond 2^53 and decimals as text, times in ISO 8601, bytes in base64, what is not finite as
 * text. Arrays, maps and records are what they are. Of a record without a value there is the key:
 *
 *     { "offset": 18, "timestamp": "..", "key": { "id": 7 }, "value": null }
 *
 * @module
 */
import { timeText } from "../../codec/time_text.ts";
import type { FieldType } from "../../columns.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sink.ts";

/** Columns that say where a record was, and are told of outside of its value. */
const ORIGIN = { partition: "kafka_partition", offset: "kafka_offset", timestamp: "kafka_timestamp" } as const;

/** Rows of one topic and partition as texts, one for each. */
export class RecordTexts {
  readonly #columns: readonly { readonly index: number; readonly name: string; readonly column: ResultColumn }[];
  readonly #timestamp: number;

  constructor(columns: readonly ResultColumn[]) {
    const origin: readonly string[] = Object.values(ORIGIN);
    this.#columns = columns.map((column, index) => ({ index, column, name: JSON.stringify(column.name) }))
      .filter(({ column }) => !origin.includes(column.name));
    this.#timestamp = columns.findIndex(({ name }) => name === ORIGIN.timestamp);
  }

  text(rows: ResultRows, row: number): string {
    const timestamp = this.#timestamp < 0 ? null : rows.values[this.#timestamp][row];
    const isGone = rows.origin!.tombstones?.has(row) === true;
    const fields = this.#columns.filter(({ column }) => !isGone || column.role === "key").map(
      ({ index, name, column }) => `${name}:${jsonText(column, rows.values[index][row])}`,
    );
    const at = timestamp === null
      ? "null"
      : jsonText({ type: { type: "timestamp-millis", nullable: true } }, timestamp);
    const told = isGone ? `"key":{${fields.join(",")}},"value":null` : `"value":{${fields.join(",")}}`;
    return `{"offset":${rows.origin!.offsets[row]},"timestamp":${at},${told}}`;
  }
}

/** A request's body around the texts of its records. */
export function bodyOf(texts: readonly string[], { topic, partition }: { topic: string; partition: number }): string {
  return `{"topic":${JSON.stringify(topic)},"partition":${partition},"records":[${texts.join(",")}]}`;
}

function jsonText({ type, isJson }: { type: FieldType; isJson?: true }, value: ResultValue): string {
  if (value === null) return "null";
  if (isJson) return value as string;
  const time = timeText(type.type, value as number | bigint);
  if (time !== undefined) return JSON.stringify(time ?? String(value));
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? String(value) : `"${value}"`;
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : `"${value}"`;
  if (value instanceof Uint8Array) return `"${value.toBase64()}"`;
  return JSON.stringify(value);
}
