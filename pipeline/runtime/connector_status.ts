/**
 * What sources, deliveries and forwards tell about themselves; read by the API, the metrics and the dashboard.
 *
 * @module
 */
import type { PipelineState } from "./status.ts";

/** Where everything ended that a connector read: `read = written + rejected + skipped` at every commit, kept with the position. */
export interface ConnectorCounts {
  readonly read: number;
  /** Records that are durable on the other side. */
  readonly written: number;
  /** Not a record, or refused by the other side: in `<topic>.rejected` (sources) or `<topic>.dead` (deliveries). */
  readonly rejected: number;
  /** There already. */
  readonly skipped: number;
}

export const NO_COUNTS: ConnectorCounts = { read: 0, written: 0, rejected: 0, skipped: 0 };

export interface ConnectorStatus {
  readonly name: string;
  readonly kind: "source" | "delivery";
  readonly state: PipelineState;
  /** Why it waits or failed, in words; null when all is well. */
  readonly reason: string | null;
  readonly lastError: { readonly atMs: number; readonly message: string } | null;
  /** In words: `GET https://api.example.com/users`, `topic products`. */
  readonly from: string;
  readonly to: readonly string[];
  /** The topic that is written (source) or read (delivery). */
  readonly topic: string;
  /** Records per second, averaged over the last few seconds. */
  readonly rates: { readonly inPerSecond: number; readonly outPerSecond: number };
  /** Since the first start. */
  readonly counts: ConnectorCounts;
  /** Records that are there and not read yet; null where nobody knows. */
  readonly lagRecords: number | null;
  /** When something was last committed, milliseconds since the epoch; null before. */
  readonly committedAtMs: number | null;
  readonly limitPerSecond: number | null;
  /** Where it is, and facts of its own, for people. */
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
}

/** Something that a source read and that is no record, or that a delivery could not hand over: its beginning, and why. */
export interface RejectedRecord {
  /** Where it is kept. */
  readonly partition: number;
  readonly offset: number;
  /** When it was rejected (sources), or the record's own time (deliveries), milliseconds since the epoch. */
  readonly timestampMs: number;
  readonly reason: string;
  /** Where it was: `orders.csv:17`, `products, partition 3, offset 42`. */
  readonly where: string;
  /** Its first 64 KiB. */
  readonly value: Uint8Array;
  /** Its whole length in bytes. */
  readonly valueBytes: number;
}

/** What can be asked of the connectors of a process, and done to them by hand. Names are those of `status()`. */
export interface ConnectorControl {
  status(): readonly ConnectorStatus[];
  /** Resolves when it rests. */
  stop(name: string): Promise<void>;
  start(name: string): Promise<void>;
  /** Records per second from now on; null for as fast as it goes. */
  limit(name: string, perSecond: number | null): void;
  /**
   * The newest that were rejected, newest first.
   *
   * @throws UnavailableError when the brokers are away
   */
  rejected(
    name: string,
    options: { readonly limit: number; readonly signal: AbortSignal },
  ): Promise<readonly RejectedRecord[]>;
}
