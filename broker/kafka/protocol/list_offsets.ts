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
import type { PartitionLog } from "../log/partition_log.ts";
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

  handle(broker, { version, body }, response) {
    body.int32();
    if (version >= 2) body.int8();
    if (version >= 2) response.int32(0);
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
    response.list(topics, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, timestamp }) => {
        const partition = broker.topics.partition(name, index);
        const found = partition === null ? none : find(partition, timestamp);
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

function find(partition: PartitionLog, timestamp: number): { offset: number; timestamp: number } {
  switch (timestamp) {
    case latest:
      return { offset: partition.endOffset, timestamp: -1 };
    case earliest:
    case earliestLocal:
      return { offset: partition.startOffset, timestamp: -1 };
    case largestTimestamp:
      return partition.offsetAt(partition.maxTimestamp) ?? none;
    default:
      return (timestamp < 0 ? null : partition.offsetAt(timestamp)) ?? none;
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
