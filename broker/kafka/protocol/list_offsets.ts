/**
 * ListOffsets: the first or next offset of a partition, or the first at or after a time.
 *
 *     request v1-8                                    response
 *       replica_id int32, isolation int8  v2+           throttle_ms int32  v2+
 *       [topics] name                                   [topics] name
 *         [partitions] index int32,                       [partitions] index int32, error int16,
 *           leader_epoch int32  v4+, timestamp int64        timestamp int64, offset int64, leader_epoch int32  v4+
 *
 * OffsetForLeaderEpoch: the end of a leader's reign; the only leader here reigns to the end of the log.
 *
 *     request v2-4                                    response
 *       replica_id int32  v3+                           throttle_ms int32
 *       [topics] name                                   [topics] name
 *         [partitions] index int32,                       [partitions] error int16, index int32,
 *           current_epoch int32, epoch int32                epoch int32, end_offset int64
 *
 * @module
 */
import type { PartitionLog, ReadLevel } from "../log/partition_log.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

const latest = -1;
const earliest = -2;
const largestTimestamp = -3;
const earliestLocal = -4;

const none = { offset: -1, timestamp: -1 };

export const listOffsets: Api = {
  key: 2,
  name: "ListOffsets",
  minVersion: 1,
  maxVersion: 8,
  flexibleFrom: 6,

  async handle(broker, { version, body }, response) {
    body.int32();
    const level = version >= 2 && body.int8() === 1 ? "committed" : "durable";
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const index = body.int32();
        if (version >= 4) body.int32();
        const timestamp = Number(body.bigint64());
        body.done();
        return { index, timestamp };
      });
      body.done();
      return { name, partitions };
    });
    // Who has produced without waiting for the disk finds what it has produced.
    const asked = topics.flatMap(({ name, partitions }) =>
      partitions.map(({ index }) => broker.topics.partition(name, index))
    );
    await Promise.all(
      asked.map((partition) => partition?.isDurable === false ? partition.sync().catch(() => {}) : null),
    );
    if (version >= 2) response.int32(0);
    response.list(topics, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, timestamp }) => {
        const partition = broker.topics.partition(name, index);
        const found = partition === null ? none : find(partition, timestamp, level);
        response.int32(index).int16(partition === null ? ErrorCode.unknownTopicOrPartition : ErrorCode.none);
        response.int64(found.timestamp).int64(found.offset);
        if (version >= 4) response.int32(found.offset < 0 ? -1 : 0);
        response.done();
      });
      response.done();
    });
    response.done();
  },
};

function find(
  partition: PartitionLog,
  timestamp: number,
  level: ReadLevel,
): { offset: number; timestamp: number } {
  const end = partition.end(level).offset;
  const inside = (found: ReturnType<PartitionLog["offsetAt"]>) => found !== null && found.offset < end ? found : none;
  switch (timestamp) {
    case latest:
      return { offset: end, timestamp: -1 };
    case earliest:
    case earliestLocal:
      return { offset: partition.startOffset, timestamp: -1 };
    case largestTimestamp:
      return inside(partition.offsetAt(partition.maxTimestamp));
    default:
      return timestamp < 0 ? none : inside(partition.offsetAt(timestamp));
  }
}

export const offsetForLeaderEpoch: Api = {
  key: 23,
  name: "OffsetForLeaderEpoch",
  minVersion: 2,
  maxVersion: 4,
  flexibleFrom: 4,

  handle(broker, { version, body }, response) {
    if (version >= 3) body.int32();
    response.int32(0);
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const index = body.int32();
        body.int32();
        const epoch = body.int32();
        body.done();
        return { index, epoch };
      });
      body.done();
      return { name, partitions };
    });
    response.list(topics, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, epoch }) => {
        const partition = broker.topics.partition(name, index);
        const known = partition !== null && epoch === 0;
        response.int16(partition === null ? ErrorCode.unknownTopicOrPartition : ErrorCode.none);
        response.int32(index).int32(known ? 0 : -1).int64(known ? partition.endOffset : -1).done();
      });
      response.done();
    });
    response.done();
  },
};
