/**
 * Produce: appends record batches.
 *
 *     request v0-11                              response
 *       transactional_id  string?   v3+            [topics] name
 *       acks              int16                      [partitions] index int32, error int16, base_offset int64,
 *       timeout_ms        int32                        log_append_time int64  v2+, log_start_offset int64  v5+,
 *       [topics] name                                  [record_errors]  v8+, error_message string?  v8+
 *         [partitions] index int32, records bytes?   throttle_ms int32  v1+
 *
 * Versions before 3 can only carry message formats that are refused. They are advertised because librdkafka asks for them before it
 * compresses anything, as Apache Kafka does (KAFKA-18659).
 *
 * @module
 */
import { BatchRefused, checkBatches } from "../log/batch.ts";
import type { PartitionLog } from "../log/partition_log.ts";
import { type Api, noAnswer } from "./api.ts";
import { ErrorCode } from "./errors.ts";

interface Result {
  readonly index: number;
  readonly partition: PartitionLog | null;
  readonly baseOffset: number;
  readonly appendTimeMs: number;
  error: number;
  message: string | null;
}

export const produce: Api = {
  key: 0,
  name: "Produce",
  minVersion: 0,
  maxVersion: 11,
  flexibleFrom: 9,

  async handle(broker, { version, body }, response) {
    const transactionalId = version >= 3 ? body.nullableText() : null;
    const acks = body.int16();
    body.int32();
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const index = body.int32();
        const records = body.nullableBlob();
        body.done();
        return store(index, name, records);
      });
      body.done();
      return { name, partitions };
    });

    function store(index: number, topic: string, records: Uint8Array | null): Result {
      const partition = broker.topics.partition(topic, index);
      const topicId = broker.topics.get(topic)?.id;
      const refused = (error: number, message: string): Result => ({
        index,
        partition: null,
        baseOffset: -1,
        appendTimeMs: -1,
        error,
        message,
      });
      if (partition === null || topicId === undefined) {
        return refused(ErrorCode.unknownTopicOrPartition, `There is no partition ${index} of topic ${topic}`);
      }
      try {
        const data = records ?? new Uint8Array(0);
        const batches = checkBatches(data, 0, data.length, broker.topics.batchBytesMax(topic));
        for (const { producerId, producerEpoch: epoch, isTransactional } of batches) {
          if (producerId < 0) continue;
          const fault = broker.transactions.produceFault({ producerId, epoch, isTransactional }, {
            id: transactionalId,
            partition: { topicId, index },
          });
          if (fault !== 0) throw new BatchRefused(fault, outsideOf(transactionalId, { producerId, epoch }));
        }
        const full = broker.budget.admit(topic, data.length);
        // The budget has told of it: not for each batch.
        if (full !== null) return refused(ErrorCode.kafkaStorageError, full);
        const { baseOffset, appendTimeMs } = partition.append(data, batches, broker.clock.now());
        return { index, partition, baseOffset, appendTimeMs, error: ErrorCode.none, message: null };
      } catch (error) {
        if (!(error instanceof BatchRefused)) throw error;
        broker.log(`Refused a batch for ${topic}-${index}: ${error.message}`);
        return refused(error.code, error.message);
      }
    }

    if (acks === 0) return noAnswer;
    if (acks === -1) {
      await Promise.all(topics.flatMap(({ partitions }) => partitions.map(toDisk)));
    }

    response.list(topics, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, (result) => {
        response.int32(result.index).int16(result.error).int64(result.error === 0 ? result.baseOffset : -1);
        if (version >= 2) response.int64(result.appendTimeMs);
        if (version >= 5) response.int64(result.partition?.startOffset ?? -1);
        if (version >= 8) response.listLength(0).text(result.message);
        response.done();
      });
      response.done();
    });
    if (version >= 1) response.int32(0);
    response.done();
  },
};

function outsideOf(id: string | null, { producerId, epoch }: { producerId: number; epoch: number }): string {
  return `Producer ${producerId} with epoch ${epoch} has no transaction here under the transactional id ${id}`;
}

async function toDisk(result: Result): Promise<void> {
  try {
    await result.partition?.sync();
  } catch (error) {
    result.error = ErrorCode.kafkaStorageError;
    result.message = (error as Error).message;
  }
}
