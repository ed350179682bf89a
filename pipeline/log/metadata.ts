/**
 * Metadata: who leads a topic's partitions, and where the brokers are.
 *
 * @module
 */
import { UnavailableError } from "../errors.ts";
import { KafkaCode } from "./kafka_errors.ts";
import type { WireReader, WireWriter } from "./wire.ts";

/** The request's key; the version with topic ids (Kafka 2.8 and later); the one that every broker knows. */
export const METADATA = { key: 3, withIds: 12, classic: 5 } as const;

const NO_ID = "0".repeat(32);

/** Which of the two versions. */
interface Layout {
  readonly hasIds: boolean;
}

interface Metadata {
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[];
  /** Of the topic. */
  readonly code: number;
  readonly id: string | null;
  readonly leaders: readonly number[];
}

/**
 * Asks for one topic, which is not to be made if it is not there.
 *
 *     Metadata request   v5                        v12, flexible: lengths are compact, every struct ends in tagged fields
 *                        [topics] name string        [topics] id uuid, name string?
 *                        may create bool             may create bool, topic operations bool
 */
export function writeMetadataRequest(writer: WireWriter, topic: string, { hasIds }: Layout): void {
  if (!hasIds) {
    writer.arrayLength(1).string(topic).boolean(false);
    return;
  }
  writer.noTaggedFields(); // of the request's header
  writer.compactArrayLength(1).uuid(NO_ID).compactString(topic).noTaggedFields();
  writer.boolean(false).boolean(false).noTaggedFields();
}

/**
 * Reads the description of one topic.
 *
 *     Metadata response  throttle time int32
 *                        [brokers] id int32, host string, port int32, rack string?
 *                        cluster id string?, controller int32
 *                        [topics] error int16, name string?, id uuid (v12), internal bool,
 *                                 [partitions] error int16, number int32, leader int32, leader epoch int32 (v12),
 *                                              [replicas int32], [in sync int32], [offline int32]
 *                                 topic operations int32 (v12)
 */
export function readMetadata(reader: WireReader, { hasIds }: Layout): Metadata {
  const length = (elementBytesMin = 1) =>
    hasIds ? reader.compactArrayLength(elementBytesMin) : reader.arrayLength(elementBytesMin);
  const done = () => hasIds && reader.skipTaggedFields();
  const nodes: { id: number; host: string; port: number }[] = [];
  const leaders: number[] = [];
  let code: number = KafkaCode.unknownTopicOrPartition;
  let id: string | null = null;
  done();
  reader.int32();
  for (let i = length(); i > 0; i--) {
    const node = reader.int32();
    const host = hasIds ? reader.compactString() : reader.string();
    nodes.push({ id: node, host, port: reader.int32() });
    hasIds ? reader.compactNullableString() : reader.nullableString();
    done();
  }
  hasIds ? reader.compactNullableString() : reader.nullableString();
  reader.int32();
  for (let topics = length(); topics > 0; topics--) {
    code = reader.int16();
    hasIds ? reader.compactNullableString() : reader.nullableString();
    const hex = hasIds ? reader.uuid() : NO_ID;
    if (hex !== NO_ID) id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    reader.boolean();
    const count = length();
    for (let i = 0; i < count; i++) {
      reader.int16(); // a partition's own error shows as leader -1
      const partition = reader.int32();
      const leader = reader.int32();
      if (partition < 0 || partition >= count) {
        throw new UnavailableError(
          `Kafka names partition ${partition} of a topic with ${count}: the answer is damaged`,
        );
      }
      leaders[partition] = leader;
      if (hasIds) reader.int32();
      for (let list = 0; list < 3; list++) reader.skip(4 * Math.max(0, length(4)));
      done();
    }
    if (hasIds) reader.int32();
    done();
  }
  return { nodes, code, id, leaders: Array.from(leaders, (leader) => leader ?? -1) };
}
