/** Avro container files as a writer makes them, and such as no writer should. */
import { deflateRawSync } from "node:zlib";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

export const SYNC = Uint8Array.from({ length: 16 }, (_, i) => 7 * i + 1);

export interface FileOptions {
  readonly codec?: string;
  /** Records in a block. */
  readonly blockRecords?: number;
  readonly schemaText?: string;
}

export function header(
  { codec, schemaText }: { readonly codec?: string; readonly schemaText: string },
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter();
  out.raw(new TextEncoder().encode("Obj\x01"));
  out.long(codec === undefined ? 1 : 2);
  out.string("avro.schema");
  out.string(schemaText);
  if (codec !== undefined) {
    out.string("avro.codec");
    out.string(codec);
  }
  out.byte(0);
  out.raw(SYNC);
  return out.written().slice();
}

/** A block as it says it is. */
export function block(bytes: Uint8Array, count: number, size = bytes.length, sync = SYNC): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(bytes.length + 64);
  out.long(count);
  out.long(size);
  out.raw(bytes);
  out.raw(sync);
  return out.written().slice();
}

export function avroFile(
  schema: AvroSchema,
  records: readonly unknown[],
  { codec, blockRecords = 100, schemaText = JSON.stringify(schema) }: FileOptions = {},
): Uint8Array<ArrayBuffer> {
  const values = avroType(schema);
  const pieces = [header({ codec, schemaText })];
  for (let from = 0; from < records.length; from += blockRecords) {
    const some = records.slice(from, from + blockRecords);
    const out = new ByteWriter();
    for (const record of some) values.encode(record, out);
    pieces.push(block(codec === "deflate" ? deflateRawSync(out.written()) : out.written(), some.length));
  }
  return joined(pieces);
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
