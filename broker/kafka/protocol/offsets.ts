/**
 * OffsetCommit and OffsetFetch: where a group has got to.
 *
 *     OffsetCommit request v1-9                      response
 *       group, generation int32, member_id,            throttle_ms int32  v3+
 *       instance_id string?  v7+                       [topics] name
 *       retention_ms int64  v2-4                         [partitions] index int32, error int16
 *       [topics] name
 *         [partitions] index int32, offset int64,
 *           leader_epoch int32  v6+,
 *           timestamp int64  v1, metadata string?
 *
 *     OffsetFetch request v1-9                       response
 *       group, [topics]? name, [index int32]  to v7    throttle_ms int32  v3+
 *       [groups]                              v8+      [topics] name                                to v7
 *         group, member_id string?  v9+,                 [partitions] index int32, offset int64,
 *         member_epoch int32  v9+,                         leader_epoch int32  v5+, metadata string?, error int16
 *         [topics]? name, [index int32]                error int16  v2+                             to v7
 *       require_stable bool  v7+                       [groups] group, [topics] as above, error int16  v8+
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { RequestReader, ResponseWriter } from "./fields.ts";

/** The longest note a client may leave with an offset, as in Apache Kafka (`offset.metadata.max.bytes`). */
export const metadataCharsMax = 4096;

export const offsetCommit: Api = {
  key: 8,
  name: "OffsetCommit",
  minVersion: 1,
  maxVersion: 9,
  flexibleFrom: 8,

  async handle(broker, { version, body }, response) {
    const group = body.text();
    const generation = body.int32();
    const memberId = body.text();
    const instanceId = version >= 7 ? body.nullableText() : null;
    if (version >= 2 && version <= 4) body.bigint64();
    const topics = body.list(() => {
      const name = body.text();
      const partitions = body.list(() => {
        const index = body.int32();
        const offset = body.int64();
        const leaderEpoch = version >= 6 ? body.int32() : -1;
        if (version === 1) body.bigint64();
        const metadata = body.nullableText();
        body.done();
        return { index, committed: { offset, leaderEpoch, metadata } };
      });
      body.done();
      return { name, partitions };
    });

    const fault = groupFault(broker, group, { generation, memberId, instanceId });
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
    const entries = results.flatMap(({ name, partitions }) =>
      partitions.filter(({ error }) => error === 0)
        .map(({ index, committed }) => ({ group, topic: name, partition: index, committed }))
    );
    let stored = true;
    try {
      if (entries.length > 0) await broker.groups.offsets.commit(entries);
    } catch (error) {
      stored = false;
      broker.log(`Cannot store the offsets of group ${group}: ${(error as Error).message}`);
    }

    if (version >= 3) response.int32(0);
    response.list(results, ({ name, partitions }) => {
      response.text(name);
      response.list(partitions, ({ index, error }) => {
        // COORDINATOR_NOT_AVAILABLE makes the client try again later, as it should with a disk that is full.
        response.int32(index).int16(error === 0 && !stored ? ErrorCode.coordinatorNotAvailable : error).done();
      });
      response.done();
    });
    response.done();
  },
};

/** Why a member's commit is refused, 0 when it is not. */
export function groupFault(
  broker: Broker,
  id: string,
  request: { generation: number; memberId: string; instanceId: string | null },
): number {
  if (id === "") return ErrorCode.invalidGroupId;
  const { offsets } = broker.groups;
  if (!offsets.has(id) && offsets.groupCount >= broker.options.groupsMax) return ErrorCode.groupMaxSizeReached;
  const group = broker.groups.get(id);
  if (group !== null) return group.commitFault(request);
  return request.generation < 0 ? ErrorCode.none : ErrorCode.unknownMemberId;
}

/** One group's question; null topics: all it has committed. */
interface Asked {
  readonly group: string;
  readonly topics: readonly { name: string; partitions: readonly number[] }[] | null;
}

export const offsetFetch: Api = {
  key: 9,
  name: "OffsetFetch",
  minVersion: 1,
  maxVersion: 9,
  flexibleFrom: 6,

  handle(broker, { version, body }, response) {
    if (version >= 8) {
      const groups = body.list((): Asked => {
        const group = body.text();
        if (version >= 9) {
          body.nullableText();
          body.int32();
        }
        const topics = readTopics(body);
        body.done();
        return { group, topics };
      });
      const stable = body.boolean();
      response.int32(0);
      response.list(groups, (asked) => {
        response.text(asked.group);
        writeTopics(broker, asked, { version, stable, response });
        response.int16(ErrorCode.none).done();
      });
    } else {
      const group = body.text();
      const topics = readTopics(body);
      const stable = version >= 7 && body.boolean();
      if (version >= 3) response.int32(0);
      writeTopics(broker, { group, topics }, { version, stable, response });
      if (version >= 2) response.int16(ErrorCode.none);
    }
    response.done();
  },
};

function readTopics(body: RequestReader): Asked["topics"] {
  return body.nullableList(() => {
    const name = body.text();
    const partitions = body.list(() => body.int32());
    body.done();
    return { name, partitions };
  });
}

function writeTopics(
  broker: Broker,
  { group, topics }: Asked,
  { version, stable, response }: { version: number; stable: boolean; response: ResponseWriter },
): void {
  const { offsets } = broker.groups;
  response.list(topics ?? offsets.all(group), ({ name, partitions }) => {
    response.text(name);
    response.list(partitions, (index) => {
      // Who asks for stable offsets waits until a transaction that moves them has ended, and asks again.
      const unstable = stable && broker.transactions.isPending(group, name, index);
      const committed = unstable ? null : offsets.get(group, name, index);
      response.int32(index).int64(committed?.offset ?? -1);
      if (version >= 5) response.int32(committed?.leaderEpoch ?? -1);
      response.text(committed?.metadata ?? "");
      response.int16(unstable ? ErrorCode.unstableOffsetCommit : ErrorCode.none).done();
    });
    response.done();
  });
}
