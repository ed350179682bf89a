/**
 * JSON values to records of a topic, for sources whose other side speaks JSON, or rows.
 *
 * @module
 */
import { avroType, type AvroValues } from "../codec/avro_values.ts";
import { MalformedRecordError } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { SourceRecord } from "./source.ts";

/** A record, or why the value is none: `price is "abc", not a decimal(10, 2)`. */
export type Made = { readonly record: SourceRecord } | { readonly reason: string };

export interface RecordMakerOptions {
  readonly schema: AvroSchema;
  /** Under which the schema is registered. */
  readonly schemaId: number;
  /** Dotted path of the field whose text is the record's key; null for records without one. */
  readonly key: string | null;
}

/** Makes records of one topic. */
export interface RecordMaker {
  /** @param value as `avroType` takes it; `timestampMs` is the record's own, in milliseconds since the epoch */
  make(value: unknown, timestampMs: number): Made;
}

/**
 * A maker of Confluent-framed Avro records. Keys are the field's text in UTF-8: of a string itself, of a number its digits.
 *
 * @throws ConfigError when the schema is invalid
 */
export function createRecordMaker({ schema, schemaId, key }: RecordMakerOptions): RecordMaker {
  const values: AvroValues = avroType(schema);
  const path = key?.split(".") ?? null;
  const text = new TextEncoder();
  return {
    make(value, timestampMs) {
      try {
        const bytes = values.encodeFramed(schemaId, value);
        const found = path?.reduce((inner: unknown, name) => (inner as Record<string, unknown> | null)?.[name], value);
        if (path !== null && (found === undefined || found === null)) return { reason: `${key}, the key, is missing` };
        const record = { key: path && text.encode(keyText(found)), value: bytes, headers: [], timestampMs };
        return { record };
      } catch (error) {
        if (!(error instanceof MalformedRecordError)) throw error;
        return { reason: error.message };
      }
    },
  };
}

/** The text of a field that is the key. */
export function keyText(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
