/**
 * DeleteRecords: removes what lies before an offset, in whole segments. What is asked for beyond stays until its segment is passed, and the
 * answer says where the log begins.
 *
 *     request v0-2                                   response
 *       [topics] name                                  throttle_ms int32
 *         [partitions] index int32,                    [topics] name
 *           offset int64 (-1: all that is readable)      [partitions] index int32, first offset int64, error int16
 *       timeout_ms int32
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

export const deleteRecords: Api = {
  key: 21,
  name: "DeleteRecords",
  minVersion: 0,
  maxVersion: 2,
  flexibleFrom: 2,

  handle(broker, { body }, response) {
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const asked = { index: body.int32(), offset: body.int64() };
        body.done();
        return { index: asked.index, ...remove(broker, name, asked) };
      });
      body.done();
      return { name, partitions };
    });
    body.int32();
    response.int32(0);
    response.list(topics, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, first, error }) => {
        response.int32(index).int64(first).int16(error).done();
      });
      response.done();
    });
    response.done();
  },
};

function remove(
  broker: Broker,
  name: string,
  { index, offset }: { index: number; offset: number },
): { first: number; error: number } {
  const refused = (error: number) => ({ first: -1, error });
  const partition = broker.topics.partition(name, index);
  if (partition === null) return refused(ErrorCode.unknownTopicOrPartition);
  // One that is compacted keeps what it has, here as with Apache Kafka.
  if (broker.topics.get(name)!.settings.isCompacted) return refused(ErrorCode.policyViolation);
  const { highWatermark, startOffset } = partition;
  const before = offset === -1 ? highWatermark : offset;
  if (before < startOffset || before > highWatermark) return refused(ErrorCode.offsetOutOfRange);
  try {
    partition.removeBefore(before, broker.clock.now());
    return { first: partition.startOffset, error: ErrorCode.none };
  } catch (error) {
    broker.log(`Cannot delete records of ${name}-${index}: ${(error as Error).message}`);
    return refused(ErrorCode.kafkaStorageError);
  }
}
