/**
 * What a transactional producer asks of the broker that coordinates it, in versions that Apache Kafka 2.8 to 4.1 speaks.
 * Versions before 3 of these requests are not flexible, but for InitProducerId, whose lengths are compact.
 *
 *     FindCoordinator v1       key string, type int8 (0: group, 1: transaction)
 *                          ->  throttle int32, error int16, message string?, node int32, host string, port int32
 *     InitProducerId v4        transactional id string, timeout ms int32, producer id int64, epoch int16 (-1, -1: take over)
 *                          ->  throttle int32, error int16, producer id int64, epoch int16
 *     AddPartitionsToTxn v2    transactional id string, producer id int64, epoch int16, [topics] name string, [partition int32]
 *                          ->  throttle int32, [topics] name string, [partitions] number int32, error int16
 *     EndTxn v2                transactional id string, producer id int64, epoch int16, committed bool
 *                          ->  throttle int32, error int16
 *     DescribeTransactions v0  [transactional id string]                                           (flexible; Kafka 3.0)
 *                          ->  throttle int32, [transactions] error int16, transactional id string, state string,
 *                              timeout ms int32, start ms int64, producer id int64, epoch int16, [topics] ...
 *
 * @module
 */
import { newestVersion } from "./api_versions.ts";
import { ask, type BrokerConnection } from "./connection.ts";
import { KafkaCode } from "./kafka_errors.ts";

/** A coordinator that does not answer in this time is given up; the connection is closed. */
const ANSWER_TIMEOUT_MS = 15_000;
const DESCRIBE_TRANSACTIONS = 65;

/** Who writes: an id given by the cluster, and how often it was claimed since. An older epoch is refused everywhere. */
export interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}

/** Partitions by topic. */
export type PartitionSet = ReadonlyMap<string, ReadonlySet<number>>;

/** What was answered: code 0 and the value, or an error's code. */
export interface Answer<T> {
  readonly code: number;
  readonly value: T;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a coordinator keeps: a group's offsets, or a transactional id's state. */
export const GROUP = 0;
export const TRANSACTION = 1;

export function findCoordinator(
  connection: BrokerConnection,
  { key, type }: { readonly key: string; readonly type: typeof GROUP | typeof TRANSACTION },
): Promise<Answer<Address>> {
  return ask(connection, {
    apiKey: 10,
    version: 1,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => writer.string(key).int8(type),
  }, (reader) => {
    reader.int32();
    const code = reader.int16();
    reader.nullableString();
    reader.int32();
    return { code, value: { host: reader.string(), port: reader.int32() } };
  });
}

export function initProducerId(
  connection: BrokerConnection,
  request: { transactionalId: string; timeoutMs: number; known: ProducerIdentity | null },
): Promise<Answer<ProducerIdentity>> {
  const { transactionalId, timeoutMs, known } = request;
  return ask(connection, {
    apiKey: 22,
    version: 4,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.noTaggedFields(); // of the request's header
      writer.compactString(transactionalId).int32(timeoutMs);
      writer.bigint64(known?.id ?? -1n).int16(known?.epoch ?? -1).noTaggedFields();
    },
  }, (reader) => {
    reader.skipTaggedFields();
    reader.int32();
    return { code: reader.int16(), value: { id: reader.bigint64(), epoch: reader.int16() } };
  });
}

export function addPartitions(
  connection: BrokerConnection,
  request: { transactionalId: string; producer: ProducerIdentity; partitions: PartitionSet },
): Promise<Answer<null>> {
  const { transactionalId, producer, partitions } = request;
  return ask(connection, {
    apiKey: 24,
    version: 2,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.string(transactionalId).bigint64(producer.id).int16(producer.epoch).arrayLength(partitions.size);
      for (const [topic, numbers] of partitions) {
        writer.string(topic).arrayLength(numbers.size);
        for (const number of numbers) writer.int32(number);
      }
    },
  }, (reader) => {
    const codes: number[] = [];
    reader.int32();
    for (let topics = reader.arrayLength(); topics > 0; topics--) {
      reader.string();
      for (let i = reader.arrayLength(6); i > 0; i--) {
        reader.int32();
        codes.push(reader.int16());
      }
    }
    // One refusal refuses all; the others then only say that they were not attempted.
    const refusals = codes.filter((code) => code !== 0);
    const code = refusals.find((code) => code !== KafkaCode.operationNotAttempted) ?? refusals[0] ?? 0;
    return { code, value: null };
  });
}

export function endTransaction(
  connection: BrokerConnection,
  request: { transactionalId: string; producer: ProducerIdentity; commit: boolean },
): Promise<Answer<null>> {
  const { transactionalId, producer, commit } = request;
  return ask(connection, {
    apiKey: 26,
    version: 2,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => writer.string(transactionalId).bigint64(producer.id).int16(producer.epoch).boolean(commit),
  }, (reader) => {
    reader.int32();
    return { code: reader.int16(), value: null };
  });
}

/** What the coordinator keeps of a transactional id. */
export interface TransactionState {
  /** Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, ... */
  readonly state: string;
  readonly holder: ProducerIdentity;
}

/** Null for an id that is not, or no longer, known, and from a coordinator that does not tell: one before Kafka 3.0. */
export async function describeTransaction(
  connection: BrokerConnection,
  transactionalId: string,
): Promise<Answer<TransactionState | null>> {
  if (await newestVersion(connection, DESCRIBE_TRANSACTIONS) < 0) return { code: 0, value: null };
  return await ask(connection, {
    apiKey: DESCRIBE_TRANSACTIONS,
    version: 0,
    timeoutMs: ANSWER_TIMEOUT_MS,
    body: (writer) => {
      writer.noTaggedFields(); // of the request's header
      writer.compactArrayLength(1).compactString(transactionalId).noTaggedFields();
    },
  }, (reader): Answer<TransactionState | null> => {
    reader.skipTaggedFields();
    reader.int32();
    if (reader.compactArrayLength() < 1) return { code: 0, value: null };
    const code = reader.int16();
    if (code === KafkaCode.transactionalIdNotFound) return { code: 0, value: null };
    reader.compactString();
    const state = reader.compactString();
    reader.int32();
    reader.bigint64();
    return { code, value: { state, holder: { id: reader.bigint64(), epoch: reader.int16() } } };
  });
}
