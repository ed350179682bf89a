/**
 * Which of a batch's records its topic did not take, and what to do about it.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { BATCH_BYTES_MAX } from "../log/record_batches.ts";
import type { SourceRecord } from "./source.ts";

/** Of a key, as an error shows it. */
const KEY_SHOWN_MAX = 200;
/** Of a batch of one record, besides key and value. */
const ROOM_BYTES = 1024;

export interface LargestRecord {
  readonly record: SourceRecord;
  /** So large that it was sent alone: it is what was refused. */
  readonly isAlone: boolean;
  /** What a person has to set, for a refusal. */
  fault(cause: Error): ConfigError;
}

/** Null when there is none. `topic` is that of records that name none. */
export function largestRecord(records: readonly SourceRecord[], topic: string | null): LargestRecord | null {
  if (records.length === 0) return null;
  const record = records.reduce((most, one) => sizeOf(one) > sizeOf(most) ? one : most);
  const bytes = sizeOf(record);
  const name = record.topic ?? topic;
  return {
    record,
    isAlone: bytes > BATCH_BYTES_MAX,
    fault(cause) {
      const needed = Math.max(bytes, BATCH_BYTES_MAX) + ROOM_BYTES;
      const key = record.key === null ? "" : ` with the key ${shownKey(record.key)}`;
      return new ConfigError({
        where: `topic ${name}`,
        problem:
          `${cause.message}. The largest record${key} is of ${bytes} bytes: set max.message.bytes of the topic to ` +
          `${needed} or more (kafka-configs.sh --bootstrap-server .. --alter --topic ${name} --add-config max.message.bytes=${needed}), and start ` +
          "the source again; it goes on with this record",
      });
    },
  };
}

export function shownKey(key: Uint8Array): string {
  return new TextDecoder().decode(key.subarray(0, KEY_SHOWN_MAX));
}

function sizeOf({ key, value }: SourceRecord): number {
  return (key?.length ?? 0) + (value?.length ?? 0);
}
