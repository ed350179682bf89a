import type { RowReader } from "../codec/row_reader.ts";
import { readHeaders } from "../log/record_headers.ts";
import type { UnreadableBatch } from "../log/record_batch.ts";
import type { Records } from "../log/records.ts";
import type { ResultRows, ResultValue, SetAsideRecord } from "../sinks/sink.ts";
import { ORIGIN_COLUMNS } from "./columns.ts";
import type { DeliveryPlan } from "./delivery_spec.ts";
import type { KeyReader } from "./key_reader.ts";
import { tombstoneKey } from "./tombstone.ts";

/** What of a row is held beside its bytes, about: offsets, and places in lists. */
const ROW_OVERHEAD_BYTES = 64;

/** What was read of one partition and is not written yet: rows, and records that are none. */
export class PartitionBatch {
  readonly partition: number;
  readonly topicId: string | null;
  /** The first offset that was read for it. */
  readonly from: number;
  /** By the monotonic clock. */
  readonly sinceMs: number;
  readonly dead: SetAsideRecord[] = [];
  /** About what it takes in memory. */
  bytes = 0;
  /** Records that are nobody's: tombstones where there is no key. */
  skipped = 0;
  readonly #plan: DeliveryPlan;
  readonly #values: ResultValue[][];
  readonly #fields: ResultValue[][];
  readonly #offsets: number[] = [];
  readonly #tombstones = new Set<number>();

  constructor(
    plan: DeliveryPlan,
    { partition, topicId, from, sinceMs }: Pick<PartitionBatch, "partition" | "topicId" | "from" | "sinceMs">,
  ) {
    this.topicId = topicId;
    this.#plan = plan;
    this.partition = partition;
    this.from = from;
    this.sinceMs = sinceMs;
    this.#values = plan.columns.map(() => []);
    this.#fields = this.#values.slice(0, -ORIGIN_COLUMNS.length);
  }

  get length(): number {
    return this.#offsets.length;
  }

  /** Records of all kinds in it. */
  get records(): number {
    return this.length + this.dead.length + this.skipped;
  }

  /** The rows, of which those are the offsets up to `to`. */
  rows(to: number): ResultRows {
    const { topic, columns } = this.#plan;
    const origin = {
      ...{ topic, partition: this.partition, from: this.from, to, offsets: this.#offsets },
      ...this.topicId === null ? {} : { topicId: this.topicId },
      ...this.#tombstones.size > 0 ? { tombstones: this.#tombstones } : {},
    };
    return { columns, length: this.length, values: this.#values, origin };
  }

  /** Takes records `[from, to)`, all of one writer schema. */
  addRows(records: Records, range: { readonly from: number; readonly to: number }, reader: RowReader): void {
    const { taken, bad } = reader.read(records, range, this.#fields);
    for (const row of taken) this.#place(records, row);
    for (const { row, reason } of bad) this.addDead(records, row, reason);
  }

  /** Takes a record without a value. */
  addTombstone(records: Records, row: number): void {
    const { key, columns } = this.#plan;
    if (key.length === 0) {
      this.skipped++;
      return;
    }
    const keyColumns = key.map((name) => columns.find((column) => column.name === name)!);
    this.#addGone(records, row, tombstoneKey(keyOf(records, row), keyColumns));
  }

  /** Takes records `[from, to)` without a value, whose keys are framed and all of one writer schema. */
  addFramedTombstones(
    records: Records,
    range: { readonly from: number; readonly to: number },
    reader: KeyReader,
  ): void {
    for (const { row, found } of reader.read(records, range)) this.#addGone(records, row, found);
  }

  /** @param values those of the key, or why there are none */
  #addGone(records: Records, row: number, values: readonly ResultValue[] | string): void {
    const { key, columns } = this.#plan;
    if (typeof values === "string") return this.addDead(records, row, values);
    this.#fields.forEach((list, i) => {
      const at = key.indexOf(columns[i].name);
      list.push(at < 0 ? null : values[at]);
    });
    this.#tombstones.add(this.length);
    this.#place(records, row);
  }

  addDead(records: Records, row: number, reason: string): void {
    const { data, offsets, timestamps, valueStart, valueEnd, headersStart, headersEnd } = records;
    const value = valueStart[row] < 0 ? null : data.slice(valueStart[row], valueEnd[row]);
    this.#die({
      offset: offsets[row],
      timestampMs: timestamps[row],
      key: keyOf(records, row),
      value,
      headers: readHeaders(data, headersStart[row], headersEnd[row]) ?? [],
      reason,
    });
  }

  /** Takes a batch whose records cannot be told apart, whole. */
  addUnreadable({ offset, timestampMs, bytes, reason }: UnreadableBatch): void {
    this.#die({ offset, timestampMs, key: null, value: bytes, headers: [], reason });
  }

  #die(record: Pick<SetAsideRecord, "offset" | "timestampMs" | "key" | "value" | "headers" | "reason">): void {
    this.dead.push(deadLetter(this.#plan.topic, this.partition, record));
    this.bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0) + ROW_OVERHEAD_BYTES;
  }

  /** Where a row was, after its fields. */
  #place(records: Records, row: number): void {
    const { offsets, timestamps, keyStart, keyEnd, valueStart, valueEnd } = records;
    const [partitions, places, times] = this.#values.slice(-ORIGIN_COLUMNS.length);
    partitions.push(this.partition);
    places.push(offsets[row]);
    times.push(timestamps[row]);
    this.#offsets.push(offsets[row]);
    this.bytes += keyEnd[row] - keyStart[row] + valueEnd[row] - valueStart[row] + ROW_OVERHEAD_BYTES;
  }
}

/** A record for `<topic>.dead`. */
export function deadLetter(
  topic: string,
  partition: number,
  record: Pick<SetAsideRecord, "offset" | "timestampMs" | "key" | "value" | "headers" | "reason">,
): SetAsideRecord {
  const { value } = record;
  const isFramed = value !== null && value.length >= 5 && value[0] === 0;
  const schemaId = isFramed ? new DataView(value.buffer, value.byteOffset).getInt32(1) : -1;
  return {
    topic,
    partition,
    ...record,
    why: "dead",
    schemaId: schemaId < 0 ? null : schemaId,
    windowStartMs: null,
  };
}

function keyOf({ data, keyStart, keyEnd }: Records, row: number): Uint8Array | null {
  return keyStart[row] < 0 ? null : data.slice(keyStart[row], keyEnd[row]);
}
