/**
 * What a member of a consumer group asks of the group's coordinator, in versions before the flexible ones that Apache Kafka 2.8 to
 * 4.1 speak.
 *
 *     JoinGroup v5      group string, session ms int32, rebalance ms int32, member string ("": new), instance string?,
 *                       type string "consumer", [protocols] name string, metadata bytes
 *                   ->  throttle int32, error int16, generation int32, protocol string, leader string, member string,
 *                       [members] id string, instance string?, metadata bytes                (filled for the leader alone)
 *     SyncGroup v3      group string, generation int32, member string, instance string?,
 *                       [assignments] member string, assignment bytes
 *                   ->  throttle int32, error int16, assignment bytes
 *     Heartbeat v3      group string, generation int32, member string, instance string?     ->  throttle int32, error int16
 *     LeaveGroup v3     group string, [members] id string, instance string?
 *                   ->  throttle int32, error int16, [members] id string, instance string?, error int16
 *     OffsetCommit v7   group string, generation int32, member string, instance string?,
 *                       [topics] name string, [partitions] number int32, offset int64, leader epoch int32 (-1), metadata string?
 *                   ->  throttle int32, [topics] name string, [partitions] number int32, error int16
 *     OffsetFetch v3    group string, [topics] name string, [partition int32]
 *                   ->  throttle int32, [topics] name string, [partitions] number int32, offset int64 (-1: none),
 *                       metadata string?, error int16; then error int16
 *
 *     metadata of a consumer     version int16, [topic string], user data bytes?
 *     assignment of a consumer   version int16, [topics] name string, [partition int32]; user data bytes?
 *
 * `instance` is the name of a member that keeps its place when it comes back (KIP-345); null for one that does not.
 * Source: kafka.apache.org/protocol, and ConsumerProtocol of Apache Kafka for the last two.
 *
 * @module
 */
import { ask, type BrokerConnection } from "./connection.ts";
import type { Answer } from "./transaction_requests.ts";
import { WireReader, WireWriter } from "./wire.ts";

/** A coordinator that does not answer in this time is given up; the connection is closed. */
const ANSWER_TIMEOUT_MS = 15_000;

/** Partitions by topic. */
export type Assigned = ReadonlyMap<string, readonly number[]>;

/** Who one is in a group, since the last rebalance. */
export interface Membership {
  readonly group: string;
  readonly generation: number;
  readonly member: string;
  readonly instance: string | null;
}

/** How far a group is in a partition. */
export interface GroupOffset {
  readonly offset: number;
  readonly metadata: string;
}

export interface Joined {
  readonly generation: number;
  readonly leader: string;
  readonly member: string;
  /** What each member reads; for the leader alone. */
  readonly members: readonly {
    readonly id: string;
    readonly instance: string | null;
    readonly topics: readonly string[];
  }[];
}

export function joinGroup(
  connection: BrokerConnection,
  request: {
    readonly group: string;
    readonly member: string;
    readonly instance: string | null;
    readonly topics: readonly string[];
    readonly protocol: string;
    readonly sessionMs: number;
    readonly rebalanceMs: number;
  },
): Promise<Answer<Joined>> {
  const { group, member, instance, topics, protocol, sessionMs, rebalanceMs } = request;
  return ask(connection, {
    apiKey: 11,
    version: 5,
    // Answered when all members have come.
    timeoutMs: rebalanceMs + ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(group).int32(sessionMs).int32(rebalanceMs).string(member).string(instance).string(
        "consumer",
      );
      writer.arrayLength(1).string(protocol).byteField(subscription(topics));
    },
  }, (reader) => {
    reader.int32();
    const code = reader.int16();
    const generation = reader.int32();
    reader.nullableString();
    const leader = reader.string();
    const own = reader.string();
    const members = Array.from({ length: Math.max(0, reader.arrayLength(6)) }, () => {
      const id = reader.string();
      const instance = reader.nullableString();
      const metadata = reader.bytes();
      return { id, instance, topics: code === 0 ? subscribedTopics(metadata) : [] };
    });
    return { code, value: { generation, leader, member: own, members } };
  });
}

export function syncGroup(
  connection: BrokerConnection,
  { group, generation, member, instance }: Membership,
  { assignments, timeoutMs }: { readonly assignments: ReadonlyMap<string, Assigned>; readonly timeoutMs: number },
): Promise<Answer<Assigned>> {
  return ask(connection, {
    apiKey: 14,
    version: 3,
    timeoutMs: timeoutMs + ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(group).int32(generation).string(member).string(instance).arrayLength(assignments.size);
      for (const [id, assigned] of assignments) writer.string(id).byteField(assignment(assigned));
    },
  }, (reader) => {
    reader.int32();
    const code = reader.int16();
    const bytes = reader.bytes();
    return { code, value: code === 0 ? assignedPartitions(bytes) : new Map() };
  });
}

export function heartbeat(
  connection: BrokerConnection,
  { group, generation, member, instance }: Membership,
): Promise<Answer<null>> {
  return ask(connection, {
    apiKey: 12,
    version: 3,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => writer.string(group).int32(generation).string(member).string(instance),
  }, (reader) => {
    reader.int32();
    return { code: reader.int16(), value: null };
  });
}

export function leaveGroup(
  connection: BrokerConnection,
  { group, member, instance }: Omit<Membership, "generation">,
): Promise<Answer<null>> {
  return ask(connection, {
    apiKey: 13,
    version: 3,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => writer.string(group).arrayLength(1).string(member).string(instance),
  }, (reader) => {
    reader.int32();
    let code = reader.int16();
    for (let i = reader.arrayLength(6); i > 0; i--) {
      reader.string();
      reader.nullableString();
      const own = reader.int16();
      if (code === 0) code = own;
    }
    return { code, value: null };
  });
}

/** The code is that of the first partition that was refused. */
export function commitOffsets(
  connection: BrokerConnection,
  { group, generation, member, instance }: Membership,
  { topic, offsets }: { readonly topic: string; readonly offsets: ReadonlyMap<number, GroupOffset> },
): Promise<Answer<null>> {
  return ask(connection, {
    apiKey: 8,
    version: 7,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(group).int32(generation).string(member).string(instance);
      writer.arrayLength(1).string(topic).arrayLength(offsets.size);
      for (const [partition, { offset, metadata }] of offsets) {
        writer.int32(partition).int64(offset).int32(-1).string(metadata);
      }
    },
  }, (reader) => {
    let refusal = 0;
    reader.int32();
    for (let topics = reader.arrayLength(); topics > 0; topics--) {
      reader.string();
      for (let i = reader.arrayLength(6); i > 0; i--) {
        reader.int32();
        const code = reader.int16();
        if (refusal === 0) refusal = code;
      }
    }
    return { code: refusal, value: null };
  });
}

/** Partitions of which nothing was ever committed are left out. */
export function fetchOffsets(
  connection: BrokerConnection,
  { group, topic, partitions }: {
    readonly group: string;
    readonly topic: string;
    readonly partitions: readonly number[];
  },
): Promise<Answer<Map<number, GroupOffset>>> {
  return ask(connection, {
    apiKey: 9,
    version: 3,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(group).arrayLength(1).string(topic).arrayLength(partitions.length);
      for (const partition of partitions) writer.int32(partition);
    },
  }, (reader) => {
    const offsets = new Map<number, GroupOffset>();
    let refusal = 0;
    reader.int32();
    for (let topics = reader.arrayLength(); topics > 0; topics--) {
      reader.string();
      for (let i = reader.arrayLength(16); i > 0; i--) {
        const partition = reader.int32();
        const offset = reader.int64();
        const metadata = reader.nullableString() ?? "";
        const code = reader.int16();
        if (refusal === 0) refusal = code;
        if (code === 0 && offset >= 0) offsets.set(partition, { offset, metadata });
      }
    }
    const code = reader.int16();
    return { code: code !== 0 ? code : refusal, value: offsets };
  });
}

function subscription(topics: readonly string[]): Uint8Array {
  const writer = new WireWriter();
  writer.int16(0).arrayLength(topics.length);
  for (const topic of topics) writer.string(topic);
  return writer.byteField(null).bytes();
}

function subscribedTopics(bytes: Uint8Array): string[] {
  const reader = new WireReader(bytes);
  reader.int16();
  return Array.from({ length: Math.max(0, reader.arrayLength(2)) }, () => reader.string());
}

function assignment(assigned: Assigned): Uint8Array {
  const writer = new WireWriter();
  writer.int16(0).arrayLength(assigned.size);
  for (const [topic, partitions] of assigned) {
    writer.string(topic).arrayLength(partitions.length);
    for (const partition of partitions) writer.int32(partition);
  }
  return writer.byteField(null).bytes();
}

function assignedPartitions(bytes: Uint8Array): Assigned {
  const assigned = new Map<string, number[]>();
  // Whom nothing is assigned to may be given no bytes at all.
  if (bytes.length === 0) return assigned;
  const reader = new WireReader(bytes);
  reader.int16();
  for (let topics = reader.arrayLength(6); topics > 0; topics--) {
    const topic = reader.string();
    assigned.set(topic, Array.from({ length: Math.max(0, reader.arrayLength(4)) }, () => reader.int32()));
  }
  return assigned;
}
