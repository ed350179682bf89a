import type { Clock } from "../../pipeline/clock.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { OpenFile } from "./log/file_pool.ts";

/** The id of the one broker there is. */
export const nodeId = 1;

/** How to start the broker. All limits have a default; a folder belongs to one broker at a time. */
export interface BrokerOptions {
  /** The address to listen at, such as `127.0.0.1`. */
  readonly host: string;
  /** 0: a free one; see the result for which. */
  readonly port: number;
  readonly dataDir: string;
  /** The name clients are told to connect to. Default: `host`, or `localhost` when that is "all addresses". */
  readonly advertisedHost?: string;
  /** How long records are kept after they were appended; −1: for ever. Default: 7 days. A topic may set its own. */
  readonly retentionMs?: number;
  /** How many bytes a partition keeps at least; whole segments beyond it go. −1: all. Default: 1 GiB. A topic may set its own. */
  readonly retentionBytes?: number;
  /**
   * What all logs together may take, bytes; −1: as much as there is. With a bound retention by time and bytes is off unless a topic
   * sets its own, and segments are at most a 64th of it.
   */
  readonly bufferBytes?: number;
  /** When that is reached: the oldest segments of all go, read or not (`drop`), or new records are refused (`refuse`). Default: drop. */
  readonly whenFull?: "drop" | "refuse";
  /** How large a segment file grows. Default: 64 MiB. A topic may set its own. */
  readonly segmentBytes?: number;
  /** Partitions of a topic created without a number of them. Default: 4. */
  readonly defaultPartitions?: number;
  /** Whether asking for a topic's metadata may create it. Default: true. */
  readonly autoCreateTopics?: boolean;
  /** The largest request; a larger one closes the connection. Default: 100 MiB. */
  readonly frameBytesMax?: number;
  /** The largest record batch. Default: 32 MiB. */
  readonly batchBytesMax?: number;
  /** Records in one fetch response, unless a single batch is larger. Default: 16 MiB. */
  readonly fetchBytesMax?: number;
  /** Default: 1000. */
  readonly connectionsMax?: number;
  /** A connection without any traffic for so long is closed. Default: 10 minutes. */
  readonly idleMs?: number;
  /** A request that has begun must be complete after this. Default: 30 s. */
  readonly stallMs?: number;
  /** Segment files open at a time. Default: 512. */
  readonly openFilesMax?: number;
  /** Partitions of all topics together. Default: 10,000. */
  readonly partitionsMax?: number;
  /** Consumer groups with members, and groups with committed offsets. Default: 10,000 each. */
  readonly groupsMax?: number;
  /** Members of one group. Default: 1000. */
  readonly groupMembersMax?: number;
  /** How long a new group waits for more members before its first assignment. Default: 100 ms. */
  readonly groupInitialDelayMs?: number;
  /** The longest time-out a transactional producer may ask for. Default: 15 minutes. */
  readonly transactionTimeoutMaxMs?: number;
  /** Transactional ids; one that is not used is forgotten after 7 days. Default: 10,000. */
  readonly transactionalIdsMax?: number;
  /** How often records that nobody waits for are put on disk. Default: 1 s. */
  readonly flushMs?: number;
  /** How often retention is applied. Default: 10 s. */
  readonly retentionCheckMs?: number;
  /** One line of text for each thing worth knowing; never per record. Default: nowhere. */
  readonly log?: (line: string) => void;
  readonly clock?: Clock;
  /** Opens segment files; for tests that make the disk fail. */
  readonly openFile?: OpenFile;
}

/** Options that can be sent to a worker, but for `log`, which is told by messages. */
export type BrokerWorkerOptions = Omit<BrokerOptions, "clock" | "openFile">;

export type ResolvedOptions = Required<Omit<BrokerOptions, "openFile">> & Pick<BrokerOptions, "openFile">;

const mebibyte = 1024 * 1024;

export function resolveOptions(options: BrokerOptions): ResolvedOptions {
  const everywhere = options.host === "0.0.0.0" || options.host === "::";
  const isBuffer = (options.bufferBytes ?? -1) >= 0;
  return {
    advertisedHost: everywhere ? "localhost" : options.host,
    retentionMs: isBuffer ? -1 : 7 * 24 * 60 * 60 * 1000,
    retentionBytes: isBuffer ? -1 : 1024 * mebibyte,
    bufferBytes: -1,
    whenFull: "drop",
    segmentBytes: 64 * mebibyte,
    defaultPartitions: 4,
    autoCreateTopics: true,
    frameBytesMax: 100 * mebibyte,
    batchBytesMax: 32 * mebibyte,
    fetchBytesMax: 16 * mebibyte,
    connectionsMax: 1000,
    idleMs: 10 * 60 * 1000,
    stallMs: 30 * 1000,
    openFilesMax: 512,
    partitionsMax: 10_000,
    groupsMax: 10_000,
    groupMembersMax: 1000,
    groupInitialDelayMs: 100,
    transactionTimeoutMaxMs: 15 * 60 * 1000,
    transactionalIdsMax: 10_000,
    flushMs: 1000,
    retentionCheckMs: 10_000,
    log: () => {},
    clock: systemClock,
    // One that is given as undefined is not given.
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as BrokerOptions,
  };
}
