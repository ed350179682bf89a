/**
 * NDJSON into records of a topic: a JSON value on each line, lines that are blank passed over.
 *
 * @module
 */
import type { AvroValues } from "../codec/avro_values.ts";
import { MalformedRecordError } from "../errors.ts";
import { keyText } from "../sources/record_maker.ts";
import { RECORD_BYTES_MAX, RecordSplitter } from "../sources/files/record_splitter.ts";
import { breather } from "./breather.ts";
import type { Collected } from "./collected.ts";

export interface TopicValues {
  /** Under which the schema is registered. */
  readonly schemaId: number;
  readonly values: AvroValues;
}

export interface NdjsonOptions extends TopicValues {
  readonly lines: "value" | "record";
  readonly key: string | null;
}

const utf8 = new TextEncoder();

/** Reads the chunks to their end into `into`. */
export async function readNdjson(
  chunks: AsyncIterable<Uint8Array>,
  into: Collected,
  { lines, key, schemaId, values }: NdjsonOptions,
): Promise<void> {
  const splitter = new RecordSplitter({ csv: null, offset: 0, line: 1 });
  const text = new TextDecoder("utf-8", { fatal: true });
  const path = key?.split(".") ?? null;
  const breathe = breather();
  const takeAll = async () => {
    for (let found = splitter.next(); found !== null; found = splitter.next()) {
      const breath = breathe();
      if (breath) await breath;
      const where = `line ${found.line}`;
      if (found.problem !== null || found.bytes.length > RECORD_BYTES_MAX) {
        into.refuse(where, found.problem ?? `is longer than ${RECORD_BYTES_MAX} bytes`);
        continue;
      }
      try {
        const line = decode(text, found.bytes);
        if (line.trim() === "") continue;
        const record = lines === "value" ? { value: parse(line), key: null } : recordOf(parse(line));
        const keyBytes = path ? keyAt(record.value, path, key!) : record.key;
        into.add(where, keyBytes, schemaId, (out) => values.encode(record.value, out));
      } catch (error) {
        if (!(error instanceof MalformedRecordError)) throw error;
        into.refuse(where, error.message);
      }
    }
  };
  for await (const chunk of chunks) {
    splitter.push(chunk);
    await takeAll();
  }
  splitter.end();
  await takeAll();
}

/** @throws MalformedRecordError when the field is missing */
export function keyAt(value: unknown, path: readonly string[], name: string): Uint8Array {
  const found = path.reduce((inner: unknown, field) => {
    const isThere = typeof inner === "object" && inner !== null && Object.hasOwn(inner, field);
    return isThere ? (inner as Record<string, unknown>)[field] : undefined;
  }, value);
  if (found === undefined || found === null) throw new MalformedRecordError(`${name}, the key, is missing`);
  return utf8.encode(keyText(found));
}

function decode(text: TextDecoder, bytes: Uint8Array): string {
  try {
    return text.decode(bytes);
  } catch {
    throw new MalformedRecordError("is not UTF-8");
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new MalformedRecordError(`is not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
}

function recordOf(line: unknown): { key: Uint8Array | null; value: unknown } {
  const isObject = typeof line === "object" && line !== null && !Array.isArray(line);
  if (!isObject || !Object.hasOwn(line, "value")) throw new MalformedRecordError("is no {key?, value}");
  const { key = null, value } = line as { key?: unknown; value: unknown };
  const other = Object.keys(line).find((name) => name !== "key" && name !== "value");
  if (other !== undefined) {
    throw new MalformedRecordError(`has ${JSON.stringify(other.slice(0, 60))} beside \`key\` and \`value\``);
  }
  if (key !== null && typeof key !== "string") throw new MalformedRecordError("has a `key` that is no text");
  return { key: key === null ? null : utf8.encode(key), value };
}
