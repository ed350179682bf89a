/**
 * AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit and EndTxn: the life of a transaction. What they mean is in transactions/.
 *
 *     AddPartitionsToTxn request v0-3                response
 *       transactional_id, producer_id int64,           throttle_ms int32
 *       producer_epoch int16                           [topics] name
 *       [topics] name, [index int32]                     [partitions] index int32, error int16
 *
 *     AddOffsetsToTxn request v0-3                   response
 *       transactional_id, producer_id int64,           throttle_ms int32, error int16
 *       producer_epoch int16, group
 *
 *     TxnOffsetCommit request v0-3                   response
 *       transactional_id, group,                       throttle_ms int32
 *       producer_id int64, producer_epoch int16,       [topics] name
 *       generation int32, member_id,                     [partitions] index int32, error int16
 *         instance_id string?  v3+
 *       [topics] name
 *         [partitions] index int32, offset int64,
 *           leader_epoch int32  v2+, metadata string?
 *
 *     EndTxn request v0-3                            response
 *       transactional_id, producer_id int64,           throttle_ms int32, error int16
 *       producer_epoch int16, commit bool
 *
 * @module
 */
import type { Holder } from "../transactions/transaction.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { RequestReader } from "./fields.ts";
import { groupFault, metadataCharsMax } from "./offsets.ts";

function readHolder(body: RequestReader): Holder {
  return { producerId: body.int64(), epoch: body.int16() };
}

/** PRODUCER_FENCED for who knows it, its predecessor for older clients. */
function fenced(error: number, version: number): number {
  return error === ErrorCode.producerFenced && version < 2 ? ErrorCode.invalidProducerEpoch : error;
}

export const addPartitionsToTxn: Api = {
  key: 24,
  name: "AddPartitionsToTxn",
  minVersion: 0,
  maxVersion: 3,
  flexibleFrom: 3,

  async handle(broker, { version, body }, response) {
    const id = body.text();
    const holder = readHolder(body);
    const topics = body.list(() => {
      const name = body.text();
      const indexes = body.list(() => body.int32());
      body.done();
      return { name, indexes };
    });

    const exists = (name: string, index: number) => broker.topics.partition(name, index) !== null;
    const allExist = topics.every(({ name, indexes }) => indexes.every((index) => exists(name, index)));
    // All partitions are added or none.
    const error = !allExist ? ErrorCode.operationNotAttempted : await broker.transactions.addPartitions(
      id,
      holder,
      // Without partitions, a topic need not exist.
      topics.flatMap(({ name, indexes }) => indexes.map((index) => ({ topicId: broker.topics.get(name)!.id, index }))),
    );

    response.int32(0);
    response.list(topics, ({ name, indexes }) => {
      response.text(name);
      response.list(indexes, (index) => {
        const missing = !allExist && !exists(name, index);
        response.int32(index).int16(missing ? ErrorCode.unknownTopicOrPartition : fenced(error, version)).done();
      });
      response.done();
    });
    response.done();
  },
};

export const addOffsetsToTxn: Api = {
  key: 25,
  name: "AddOffsetsToTxn",
  minVersion: 0,
  maxVersion: 3,
  flexibleFrom: 3,

  async handle(broker, { version, body }, response) {
    const id = body.text();
    const holder = readHolder(body);
    const group = body.text();
    const error = group === "" ? ErrorCode.invalidGroupId : await broker.transactions.addGroup(id, holder, group);
    response.int32(0).int16(fenced(error, version)).done();
  },
};

export const endTxn: Api = {
  key: 26,
  name: "EndTxn",
  minVersion: 0,
  maxVersion: 3,
  flexibleFrom: 3,

  async handle(broker, { version, body }, response) {
    const id = body.text();
    const holder = readHolder(body);
    const error = await broker.transactions.end(id, holder, body.boolean());
    response.int32(0).int16(fenced(error, version)).done();
  },
};

export const txnOffsetCommit: Api = {
  key: 28,
  name: "TxnOffsetCommit",
  minVersion: 0,
  maxVersion: 3,
  flexibleFrom: 3,

  async handle(broker, { version, body }, response) {
    const id = body.text();
    const group = body.text();
    const holder = readHolder(body);
    const generation = version >= 3 ? body.int32() : -1;
    const memberId = version >= 3 ? body.text() : "";
    const instanceId = version >= 3 ? body.nullableText() : null;
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const index = body.int32();
        const offset = body.int64();
        const leaderEpoch = version >= 2 ? body.int32() : -1;
        const metadata = body.nullableText();
        body.done();
        return { index, committed: { offset, leaderEpoch, metadata } };
      });
      body.done();
      return { name, partitions };
    });

    // A producer that was told nothing but the group's name commits for whoever is in it.
    const isMember = generation >= 0 || memberId !== "" || instanceId !== null;
    const fault = isMember || group === "" ? groupFault(broker, group, { generation, memberId, instanceId }) : 0;
    const results = topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ index, committed }) => ({
        index,
        committed,
        error: fault !== 0
          ? fault
          : broker.topics.partition(name, index) === null
          ? ErrorCode.unknownTopicOrPartition
          : (committed.metadata?.length ?? 0) > metadataCharsMax
          ? ErrorCode.offsetMetadataTooLarge
          : ErrorCode.none,
      })),
    }));
    const offsets = results.flatMap(({ name, partitions }) =>
      partitions.filter(({ error }) => error === 0)
        .map(({ index, committed }) => ({ group, topic: name, partition: index, committed }))
    );
    const stored = fault !== 0 ? 0 : await broker.transactions.addOffsets(id, holder, offsets);
    // This answer never got PRODUCER_FENCED.
    const storeError = stored === ErrorCode.producerFenced ? ErrorCode.invalidProducerEpoch : stored;

    response.int32(0);
    response.list(results, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, error }) => response.int32(index).int16(error || storeError).done());
      response.done();
    });
    response.done();
  },
};
