import { ConfigError, UnavailableError } from "../errors.ts";

/** The error codes of the Kafka protocol that the data plane meets (kafka.apache.org/protocol#protocol_error_codes). */
export const KafkaCode = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidTransactionState: 48,
  invalidProducerIdMapping: 49,
  concurrentTransactions: 51,
  transactionalIdRefused: 53,
  operationNotAttempted: 55,
  unknownProducerId: 59,
  producerFenced: 90,
  memberIdRequired: 79,
  fencedInstance: 82,
  transactionalIdNotFound: 105,
  transactionAbortable: 120,
} as const;

const NAMES: Readonly<Record<number, string>> = {
  1: "the offset is not, or no longer, in the log",
  2: "the batch arrived damaged",
  3: "the topic or partition does not exist",
  5: "the partition has no leader at the moment",
  6: "the broker no longer leads the partition",
  7: "the broker did not finish in time",
  9: "a replica is not available",
  10: "the record batch is larger than the broker allows (max.message.bytes)",
  14: "the group coordinator is loading",
  15: "the group coordinator is not available",
  17: "the topic's name is not allowed",
  19: "too few replicas are in sync",
  20: "too few replicas are in sync",
  22: "the group has gone on to another generation",
  23: "members of the group divide partitions in another way than `range`, or are no consumers: use a group of its own",
  25: "the group does not know the member (any more)",
  26:
    "the session timeout is not one that the broker allows (group.min.session.timeout.ms, group.max.session.timeout.ms)",
  27: "the group's partitions are being given out anew",
  29: "this user may not use the topic",
  30: "this user may not use the group",
  31: "this user may not use the cluster",
  45: "the producer's sequence has a gap",
  47: "another producer took over",
  48: "the transaction is not in a state for it",
  49: "the transactional id belongs to another producer id now",
  50: "the transaction timeout is larger than the broker allows (transaction.max.timeout.ms)",
  51: "the transaction before is still being ended",
  53: "this user may not use the transactional id",
  55: "another partition of the transaction was refused",
  56: "the broker's disk failed or is full",
  59: "the broker does not know the producer any more",
  74: "the leader's epoch is newer",
  76: "the compression is not supported",
  81: "the group has as many members as the broker allows (group.max.size)",
  87: "the record was refused",
  90: "another producer took over",
  120: "the transaction has to be aborted",
};

/** Codes that a change of settings mends, not time. */
const PERMANENT = new Set([10, 17, 23, 26, 29, 30, 31, 50, 53, 76, 81, 87]);

/** The broker takes no batch as large as this one was. */
export class BatchTooLargeError extends ConfigError {}

/** The error for a code a broker answered `doing` something with; null for code 0. */
export function kafkaError(code: number, doing: string): Error | null {
  if (code === 0) return null;
  const message = `Kafka refused ${doing}: ${NAMES[code] ?? `error code ${code}`}`;
  if (code === KafkaCode.messageTooLarge) return new BatchTooLargeError({ where: "kafka", problem: message });
  return PERMANENT.has(code) ? new ConfigError({ where: "kafka", problem: message }) : new UnavailableError(message);
}
