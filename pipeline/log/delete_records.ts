import { newestVersion } from "./api_versions.ts";
import { ask } from "./connection.ts";
import type { Cluster } from "./cluster.ts";
import { UnavailableError } from "../errors.ts";
import { kafkaError } from "./kafka_errors.ts";

const DELETE_RECORDS = 21;
const TIMEOUT_MS = 10_000;

/**
 * Deletes the records before an offset in each of the partitions (DeleteRecords, version 0), as far as the broker does: Tailrace's own
 * deletes whole segments. What was deleted before already is no fault.
 *
 *     request   [topics] name, [partitions] index int32, offset int64; timeout_ms int32
 *     response  throttle_ms int32, [topics] name, [partitions] index int32, first offset left int64, error int16
 *
 * @param before offset by partition
 * @param options.topicId Kafka's id of the topic that the offsets are of, where it is known: of one made anew nothing is deleted
 * @throws UnavailableError when the brokers are away, or the topic is
 * @throws ConfigError when this user may not
 */
export async function deleteRecordsBefore(
  cluster: Cluster,
  topic: string,
  before: ReadonlyMap<number, number>,
  { topicId = null }: { readonly topicId?: string | null } = {},
): Promise<void> {
  const found = await cluster.leaders(topic);
  // Its records are gone with it.
  if (found === null) return;
  if (topicId !== null && found.id !== null && found.id !== topicId) return;
  const wanted = [...before].filter(([partition, offset]) => offset > 0 && partition < found.leaders.length);
  for (const [leader, led] of Map.groupBy(wanted, ([partition]) => found.leaders[partition])) {
    const connection = await cluster.node(leader);
    if (await newestVersion(connection, DELETE_RECORDS) < 0) {
      throw new UnavailableError(`The broker ${connection.address} cannot delete records`);
    }
    await ask(connection, {
      apiKey: DELETE_RECORDS,
      version: 0,
      body: (writer) => {
        writer.arrayLength(1).string(topic).arrayLength(led.length);
        for (const [partition, offset] of led) writer.int32(partition).int64(offset);
        writer.int32(TIMEOUT_MS);
      },
    }, (reader) => {
      reader.int32(); // throttle time
      for (let topics = reader.arrayLength(); topics > 0; topics--) {
        reader.string();
        for (let i = reader.arrayLength(); i > 0; i--) {
          const partition = reader.int32();
          reader.int64(); // first offset left
          const code = reader.int16();
          // Out of range: retention was there before.
          const error = code === 1 ? null : kafkaError(code, `to delete records of ${topic}/${partition}`);
          if (error) throw error;
        }
      }
    });
  }
}
