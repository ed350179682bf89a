/**
 * Fetch: reads record batches, waiting for new ones when there are too few.
 *
 *     request v4-17                                      response
 *       replica_id int32  to v14                           throttle_ms int32
 *       max_wait_ms int32, min_bytes int32                 error int16, session_id int32  v7+
 *       max_bytes int32, isolation int8                    [topics] name to v12, topic_id uuid v13+
 *       session_id int32, session_epoch int32  v7+           [partitions] index int32, error int16,
 *       [topics] name to v12, topic_id uuid v13+               high_watermark int64, last_stable_offset int64,
 *         [partitions] index int32,                            log_start_offset int64  v5+,
 *           leader_epoch int32  v9+, offset int64,             [aborted]? producer_id int64, first_offset int64,
 *           last_epoch int32  v12+,                            preferred_replica int32  v11+, records bytes?
 *           log_start_offset int64  v5+, max_bytes int32
 *       [forgotten] topic, [index int32]  v7+
 *       rack string  v11+
 *
 * With isolation 1 records come up to the last stable offset, and `aborted` tells which of them the client must leave out.
 * Session id 0 in the answer means: no session, send every partition with every request.
 *
 * @module
 */
import type { PartitionLog, ReadLevel } from "../log/partition_log.ts";
import type { Broker } from "../broker.ts";
import type { Api, Request } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { RequestReader, ResponseWriter } from "./fields.ts";

/** The longest a fetch may wait, whatever it asks for. */
const waitMsMax = 5 * 60 * 1000;

/** What one partition asks for. */
interface Wanted {
  readonly index: number;
  readonly offset: number;
  readonly bytesMax: number;
  readonly partition: PartitionLog | null;
  readonly error: number;
}

interface WantedTopic {
  readonly name: string;
  readonly id: string;
  readonly partitions: readonly Wanted[];
}

export const fetch: Api = {
  key: 1,
  name: "Fetch",
  minVersion: 4,
  maxVersion: 17,
  flexibleFrom: 12,

  async handle(broker, request, response) {
    const { version, body } = request;
    if (version <= 14) body.int32();
    const waitMs = Math.min(body.int32(), waitMsMax);
    const bytesMin = body.int32();
    const bytesMax = Math.min(Math.max(body.int32(), 0), broker.options.fetchBytesMax);
    const level = body.int8() === 1 ? "committed" : "durable";
    const sessionId = version >= 7 ? body.int32() : 0;
    if (version >= 7) body.int32();
    const topics = readTopics(broker, version, body);

    response.int32(0);
    if (sessionId !== 0) {
      response.int16(ErrorCode.fetchSessionIdNotFound).int32(0).listLength(0).done();
      return;
    }
    const all = topics.flatMap((topic) => topic.partitions);
    if (!all.some((wanted) => wanted.error !== 0 || fault(wanted) !== 0)) {
      await enoughBytes(all, { bytesMin: Math.min(bytesMin, bytesMax), waitMs, level, request });
    }
    if (version >= 7) response.int16(ErrorCode.none).int32(0);

    let left = bytesMax;
    let first = true;
    response.list(topics, ({ name, id, partitions }) => {
      if (version >= 13) response.uuid(id);
      else response.text(name);
      response.list(partitions, (wanted) => {
        const bytesMax = Math.min(left, wanted.bytesMax);
        const bytes = writePartition(wanted, { version, response, bytesMax, first, level });
        left = Math.max(0, left - bytes);
        first &&= bytes === 0;
      });
      response.done();
    });
    response.done();
  },
};

function readTopics(broker: Broker, version: number, body: RequestReader): WantedTopic[] {
  return body.list(() => {
    const id = version >= 13 ? body.uuid() : "";
    const name = version >= 13 ? broker.topics.nameOf(id) : body.text();
    const partitions = body.list(() => {
      const index = body.int32();
      if (version >= 9) body.int32();
      const offset = body.int64();
      if (version >= 12) body.int32();
      if (version >= 5) body.int64();
      const bytesMax = Math.max(0, body.int32());
      body.done();
      const partition = name === null ? null : broker.topics.partition(name, index);
      const unknown = name === null ? ErrorCode.unknownTopicId : ErrorCode.unknownTopicOrPartition;
      return { index, offset, bytesMax, partition, error: partition === null ? unknown : ErrorCode.none };
    });
    body.done();
    return { id, name: name ?? "", partitions };
  });
}

/** What is wrong with a request that named a partition that was there; it may have been deleted while the request waited. */
function fault({ partition, offset }: Wanted): number {
  if (partition?.isRemoved) return ErrorCode.unknownTopicOrPartition;
  const inside = partition === null || (offset >= partition.startOffset && offset <= partition.endOffset);
  return inside ? ErrorCode.none : ErrorCode.offsetOutOfRange;
}

function writePartition(
  wanted: Wanted,
  { version, response, bytesMax, first, level }: {
    version: number;
    response: ResponseWriter;
    bytesMax: number;
    first: boolean;
    level: ReadLevel;
  },
): number {
  const { partition, index, offset } = wanted;
  const error = wanted.error || fault(wanted);
  response.int32(index).int16(error);
  response.int64(partition?.highWatermark ?? -1).int64(partition?.lastStableOffset ?? -1);
  if (version >= 5) response.int64(partition?.startOffset ?? -1);
  if (partition === null || error !== 0 || level !== "committed") {
    response.listLength(-1);
  } else {
    response.list(partition.abortedTransactions(offset, bytesMax), ({ producerId, firstOffset }) => {
      response.int64(producerId).int64(firstOffset).done();
    });
  }
  if (version >= 11) response.int32(-1);

  if (partition === null || error !== 0 || (bytesMax === 0 && !first)) {
    response.blob(emptyRecords).done();
    return 0;
  }
  // The length comes before the records but is known after them. A compact length gets five bytes, the most it can need.
  const lengthAt = response.reserve(response.flexible ? 5 : 4);
  const bytes = partition.read(offset, bytesMax, response, { atLeastOne: first, level });
  if (response.flexible) patchUvarint5(response, lengthAt, bytes + 1);
  else response.patchInt32(lengthAt, bytes);
  response.done();
  return bytes;
}

const emptyRecords = new Uint8Array(0);

/** A varint in exactly five bytes: the continuation bits of the first four are set whatever the value. */
function patchUvarint5(response: ResponseWriter, at: number, value: number): void {
  const { data } = response;
  data[at] = (value & 0x7f) | 0x80;
  data[at + 1] = ((value >>> 7) & 0x7f) | 0x80;
  data[at + 2] = ((value >>> 14) & 0x7f) | 0x80;
  data[at + 3] = ((value >>> 21) & 0x7f) | 0x80;
  data[at + 4] = value >>> 28;
}

/**
 * Waits until the partitions have `bytesMin` bytes together, the time is up, or the connection is gone. What was produced without
 * waiting for the disk is put there for who has read everything else.
 */
function enoughBytes(
  all: readonly Wanted[],
  { bytesMin, waitMs, level, request }: { bytesMin: number; waitMs: number; level: ReadLevel; request: Request },
): Promise<unknown> | undefined {
  const available = ({ partition, offset, bytesMax }: Wanted) =>
    partition!.isRemoved ? Infinity : partition!.bytesFrom(offset, bytesMax, level);
  const bytes = all.map(available);
  const isEnough = () => bytes.reduce((sum, count) => sum + count, 0) >= bytesMin;
  if (isEnough()) return;
  const behind = all.filter(({ partition, offset }) => !partition!.isDurable && offset < partition!.endOffset);
  if (waitMs <= 0) {
    const isEmpty = bytes.every((count) => count === 0);
    return isEmpty ? Promise.all(behind.map(({ partition }) => partition!.sync().catch(() => {}))) : undefined;
  }
  return new Promise<void>((resolve) => {
    const listeners = all.map((wanted, at) => () => {
      bytes[at] = available(wanted);
      if (isEnough()) finish();
    });
    const finish = () => {
      clearTimeout(timer);
      request.signal.removeEventListener("abort", finish);
      all.forEach(({ partition }, at) => partition!.listeners.delete(listeners[at]));
      resolve();
    };
    const timer = setTimeout(finish, waitMs);
    request.signal.addEventListener("abort", finish);
    all.forEach(({ partition }, at) => partition!.listeners.add(listeners[at]));
    for (const { partition } of behind) partition!.syncSoon();
  });
}
