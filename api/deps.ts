/**
 * What the HTTP application needs from the rest, as interfaces over Web-standard types only: the same app serves from
 * this process and from an edge runtime over a remote Postgres.
 *
 * @module
 */
import type { Auditor } from "../pipeline/audit/audit.ts";
import type { Letters } from "../pipeline/letters/letters.ts";
import type { BulkIngest } from "../pipeline/ingest/bulk.ts";
import type { ResultColumn } from "../pipeline/plan/plan.ts";
import type { ResultRows } from "../pipeline/sinks/sink.ts";
import type { ConnectorControl } from "../pipeline/runtime/connector_status.ts";
import type { Explanation } from "../pipeline/runtime/explain.ts";
import type { RewindPreview, RewindTarget } from "../pipeline/runtime/rewind.ts";
import type { LedgerEntry } from "../pipeline/ledger.ts";
import type { QueryStore, SqlService } from "./sql/service.ts";
import type { PipelineStatus } from "../pipeline/runtime/status.ts";
import type { BackfillDesk } from "./backfill_desk.ts";
import type { CassandraReader } from "./cassandra_reader.ts";
import type { ExportDesk } from "./export_desk.ts";
import type { LakeDesk } from "./lake_desk.ts";
import type { PreviewDesk } from "./preview_desk.ts";

/** A result row as JSON shows it: decimals as strings, timestamps as ISO 8601. */
export type ResultJson = Record<string, string | number | boolean | null>;

export interface ResultQuery {
  /** Values of the key columns, in order; a shorter list matches by its leading columns. */
  readonly key?: readonly string[];
  /** Window start `>= from` and `< to`, milliseconds since the epoch. */
  readonly from?: number;
  readonly to?: number;
  readonly final?: boolean;
  readonly limit: number;
  /** From a page's `next`. */
  readonly cursor?: string;
}

export interface ResultPage {
  readonly rows: readonly ResultJson[];
  /** Give as `cursor` for the following page; null on the last one. */
  readonly next: string | null;
}

/** A query that cannot be answered as asked; the caller of the API has to change it. */
export class QueryError extends Error {
  override readonly name = "QueryError";
  /** The parameter at fault. */
  readonly where: "key" | "cursor" | "pipeline" | "sql";

  constructor(where: QueryError["where"], problem: string) {
    super(problem);
    this.where = where;
  }
}

/**
 * Reads published results, newest window first.
 *
 * @throws UnavailableError when the store is away
 * @throws QueryError for a key or cursor that does not fit the pipeline, or a pipeline without stored results
 */
export interface ResultReader {
  read(pipeline: string, query: ResultQuery): Promise<ResultPage>;
}

/** Result rows just made durable, in order. `subscribe` returns its own undo. */
export interface LiveSource {
  subscribe(listener: (pipeline: string, rows: ResultRows) => void): () => void;
}

/** One dependency's state for `/readyz`. */
export interface ReadyCheck {
  readonly name: string;
  readonly ready: boolean;
  readonly detail: string;
}

/** Why a JSON record was refused: its place in the request, and the fields at fault. */
export interface IngestFault {
  readonly index: number;
  readonly problem: string;
}

export interface IngestedRecord {
  readonly partition: number;
  readonly offset: number;
}

/** Writes JSON records to a topic, validated against the topic's registered value schema; all of them or none. */
export interface Ingest {
  /**
   * @throws UnavailableError when broker or registry is away
   */
  write(
    topic: string,
    records: readonly { readonly key?: string | null; readonly value: unknown }[],
  ): Promise<
    | { readonly kind: "written"; readonly records: readonly IngestedRecord[] }
    | { readonly kind: "refused"; readonly faults: readonly IngestFault[] }
    | { readonly kind: "unknown topic" }
    /** The registered schema is none that JSON can be written with: another language than Avro, or damaged. */
    | { readonly kind: "unusable schema"; readonly problem: string }
    /** Kafka takes no batch as large; what went to other partitions may be written. */
    | { readonly kind: "too large"; readonly problem: string }
  >;
}

/** What can be asked of pipelines, and done to them by hand. Names are those of `status()`. */
export interface PipelineControl {
  /** Where every record ended, by partition. */
  ledger(name: string): readonly LedgerEntry[];
  /**
   * What became of a record in each pipeline that reads its topic.
   *
   * @throws OffsetOutOfRangeError when the log does not hold it any more
   */
  explain(
    record: { readonly topic: string; readonly partition: number; readonly offset: number },
    options: { readonly signal: AbortSignal },
  ): Promise<Explanation[]>;
  /** Resolves when it rests, with a last commit. */
  stop(name: string): Promise<void>;
  start(name: string): Promise<void>;
  /** Records per second that are read from now on; null for as fast as it goes. */
  limit(name: string, perSecond: number | null): void;
  /** @throws ConfigError when the log or the history do not reach back so far */
  previewRewind(name: string, target: RewindTarget): Promise<RewindPreview>;
  /** Null when it is running. @throws ConfigError when the log or the history do not reach back so far */
  rewind(name: string, target: RewindTarget): Promise<RewindPreview | null>;
}

export interface PipelineInfo {
  readonly name: string;
  readonly columns: readonly ResultColumn[];
}

export interface AppDeps {
  /** Static facts of each pipeline, known without a running engine. */
  readonly pipelines: readonly PipelineInfo[];
  readonly results: ResultReader;
  /** Absent where no engine runs beside the app (an edge runtime). */
  readonly engine?: {
    status(): readonly PipelineStatus[];
    readonly live: LiveSource;
    readonly ingest: Ingest;
    readonly control: PipelineControl;
    /** Prometheus text exposition. */
    metrics(): Promise<string>;
  };
  /** Records by the thousand; absent as `engine`. */
  readonly bulk?: BulkIngest;
  /** Sources and deliveries; absent as `engine`. */
  readonly connectors?: ConnectorControl;
  /** Late records and dead letters; absent as `engine`. */
  readonly letters?: Letters;
  /** Of pipelines whose topic has an archive; absent as `engine`. */
  readonly audit?: readonly Auditor[];
  /** Histories built from archives; absent as `engine`. */
  readonly backfill?: BackfillDesk;
  /** Edited definitions over archives; absent as `engine`. */
  readonly preview?: PreviewDesk;
  /** Results and tables as files; absent as `engine`. */
  readonly exports?: ExportDesk;
  /** The lake's tables; absent as `engine`. */
  readonly lake?: LakeDesk;
  /** Tables of Cassandra that definitions name; absent as `engine`. */
  readonly cassandra?: CassandraReader;
  /** Questions in SQL; absent as `engine`. */
  readonly sql?: SqlService;
  /** Questions kept by name; there where `sql` is. */
  readonly queries?: QueryStore;
  readonly ready: () => Promise<readonly ReadyCheck[]>;
  /** Dashboard files: path such as `app.js` to a response, or null. */
  readonly asset: (path: string) => Promise<Response | null>;
  /** Told once of every failure that the caller of the API only sees as "internal error". */
  readonly log?: (message: string, error: unknown) => void;
  readonly version: string;
}
