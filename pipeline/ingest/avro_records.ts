/**
 * The values of an Avro container into records of a topic.
 *
 * What was written with a schema that is registered for the topic, whichever version, goes into it as it is. Other values are
 * read with the schema that they come with, and written with the topic's newest: those that do not fit it are named.
 *
 * @module
 */
import { avroType, type AvroValues, type Json } from "../codec/avro_values.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { SchemaFinder } from "../log/registry_client.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { ContainerReader } from "./avro_container.ts";
import { breather } from "./breather.ts";
import type { Collected } from "./collected.ts";
import { keyAt, type TopicValues } from "./ndjson.ts";
import { unreadable } from "./pulled_bytes.ts";

export interface AvroRecordsOptions extends TopicValues {
  readonly topic: string;
  readonly key: string | null;
  readonly registry: SchemaFinder;
  readonly bytesMax: number;
}

/** Reads the chunks to their end into `into`. */
export async function readAvro(
  chunks: AsyncIterable<Uint8Array>,
  into: Collected,
  { topic, key, registry, bytesMax, schemaId, values }: AvroRecordsOptions,
): Promise<void> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    const container = new ContainerReader(iterator);
    const { schema } = await container.header();
    const written = readable(schema);
    const registered = await findId(registry, `${topic}-value`, schema);
    const path = key?.split(".") ?? null;
    const breathe = breather();
    for await (const { count, bytes } of container.blocks(bytesMax)) {
      const sequence = written.decodeSequence(bytes);
      for (let i = 0; i < count; i++) {
        const breath = breathe();
        if (breath) await breath;
        const where = `record ${into.count + 1}`;
        const start = sequence.position;
        const value = next(sequence, where);
        const raw = bytes.subarray(start, sequence.position);
        try {
          const keyBytes = path ? keyAt(value, path, key!) : null;
          if (registered !== null) into.add(where, keyBytes, registered, (out) => out.raw(raw));
          else into.add(where, keyBytes, schemaId, (out) => values.encode(value, out));
        } catch (error) {
          if (!(error instanceof MalformedRecordError)) throw error;
          into.refuse(where, error.message);
        }
      }
      const left = bytes.length - sequence.position;
      if (left > 0) throw unreadable(`has a block with ${left} bytes after its records`);
    }
  } finally {
    await iterator.return?.();
  }
}

/** After a fault nobody knows where the next record begins. */
function next(sequence: { next(): Json }, where: string): Json {
  try {
    return sequence.next();
  } catch (error) {
    if (!(error instanceof MalformedRecordError)) throw error;
    throw unreadable(`${where}: ${error.message}`);
  }
}

function readable(schema: AvroSchema): AvroValues {
  try {
    return avroType(schema);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw unreadable(`has a schema that is none: ${error.message}`);
  }
}

async function findId(registry: SchemaFinder, subject: string, schema: AvroSchema): Promise<number | null> {
  try {
    return await registry.find(subject, schema);
  } catch (error) {
    // A registry may be stricter about schemas than we are.
    if (error instanceof ConfigError) return null;
    throw error;
  }
}
