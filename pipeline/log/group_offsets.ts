/**
 * Notes positions in a consumer group without being a member of it, so that tools show lag.
 *
 *     FindCoordinator v1    group string, type int8 (0: group)
 *     OffsetCommit v2       group string, generation int32 (-1: no member), member string (""), retention ms int64 (-1),
 *                           [topics] name string, [partitions] number int32, offset int64, metadata string?
 *                       ->  [topics] name string, [partitions] number int32, error int16
 *
 * @module
 */
import type { Cluster } from "./cluster.ts";
import { ask } from "./connection.ts";
import { kafkaError } from "./kafka_errors.ts";
import { findCoordinator, GROUP } from "./transaction_requests.ts";

/** An answer that takes longer is not waited for. */
const ANSWER_TIMEOUT_MS = 10_000;

/**
 * Notes the next offset by partition. Refused by the cluster while the group has members: then it is theirs.
 *
 * @throws UnavailableError when the group's coordinator is away, and other errors as the cluster refuses
 */
export async function noteOffsets(
  cluster: Cluster,
  group: string,
  { topic, positions }: { readonly topic: string; readonly positions: ReadonlyMap<number, number> },
): Promise<void> {
  const { code, value } = await findCoordinator(await cluster.any(), { key: group, type: GROUP });
  const away = kafkaError(code, `to find the coordinator of group ${group}`);
  if (away) throw away;
  await ask(await cluster.at(value.host, value.port), {
    apiKey: 8,
    version: 2,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(group).int32(-1).string("").int64(-1).arrayLength(1).string(topic).arrayLength(positions.size);
      for (const [partition, offset] of positions) writer.int32(partition).int64(offset).string("");
    },
  }, (reader) => {
    for (let topics = reader.arrayLength(); topics > 0; topics--) {
      reader.string();
      for (let i = reader.arrayLength(); i > 0; i--) {
        const partition = reader.int32();
        const error = kafkaError(reader.int16(), `to note the offset of ${topic}/${partition} in group ${group}`);
        if (error) throw error;
      }
    }
  });
}
