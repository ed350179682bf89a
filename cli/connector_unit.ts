import type { Until } from "../pipeline/runtime/bounds.ts";
import type { ConnectorStatus, RejectedRecord } from "../pipeline/runtime/connector_status.ts";
import type { CassandraSession } from "../pipeline/sinks/cassandra/session.ts";
import type { Secrets } from "../pipeline/secrets.ts";
import type { Config } from "./config.ts";
import type { Addresses } from "./embedded.ts";
import type { Logger } from "./log.ts";

/** A source or a delivery that runs, or rests, in this process. */
export interface ConnectorUnit {
  readonly name: string;
  /** It stopped by itself, over something that no retry mends. */
  readonly isGivenUp: boolean;
  /** Keeps it running until the signal, or as commanded. */
  run(signal: AbortSignal): Promise<void>;
  /** Runs once over what is there, trying again while others are away; false when it was given up. */
  runBounded(signal: AbortSignal, until: Until): Promise<boolean>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Records per second from now on. */
  limit(perSecond: number | null): void;
  /** What has to be set before it can run, in words; null when nothing is missing. */
  missing(): string | null;
  status(): ConnectorStatus;
  /** The newest that were rejected, newest first. @throws UnavailableError, and ConfigError where settings are missing */
  rejected(options: { readonly limit: number; readonly signal: AbortSignal }): Promise<readonly RejectedRecord[]>;
  /** Closes what it has open, after the last run. */
  close(): Promise<void>;
}

/** What sources and deliveries are run with. */
export interface ConnectorOptions {
  readonly config: Config;
  readonly addresses: Addresses;
  readonly secrets: Secrets;
  readonly cassandra: CassandraSession;
  readonly log: Logger;
}
