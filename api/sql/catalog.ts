/**
 * What can be asked in SQL, and how a question gets to see all of it at one moment.
 *
 * @module
 */

/** `lake.transactions`, `live.account_minute`, `ledger`: `schema` is null for the last kind. */
export interface RelationName {
  readonly schema: "lake" | "live" | "results" | "topics" | null;
  readonly name: string;
  /** An earlier state of a lake table. */
  readonly at?: { readonly version: number } | { readonly timeMs: number };
  /**
   * Rows with other values in these partition columns of a lake table are not needed, by what the question says of them; some may
   * come nevertheless. Spares fetching files.
   */
  readonly within?: readonly PartitionRange[];
}

/** From `from` to `to`, both in, as text: dates as `2026-11-21`. */
export interface PartitionRange {
  readonly column: string;
  readonly from?: string;
  readonly to?: string;
}

export interface RelationColumn {
  readonly name: string;
  /** In DuckDB's words: `BIGINT`, `TIMESTAMP WITH TIME ZONE`, `STRUCT(country VARCHAR)`. */
  readonly type: string;
}

export interface RelationInfo {
  readonly schema: RelationName["schema"];
  readonly name: string;
  readonly columns: readonly RelationColumn[];
  /** One sentence for people. */
  readonly about: string;
}

/** How far an answer is complete, for one source. */
export interface Completeness {
  readonly topic: string;
  /** By partition, the offset after the last record that the answer knows of. */
  readonly offsets: Readonly<Record<string, number>>;
  /** Windows that end at or before this are final in the answer; null when unknown. ISO 8601. */
  readonly watermark: string | null;
}

/**
 * A relation frozen as local Parquet files; there may be none. The columns that `partitions` gives are not in the files. Files of
 * earlier schemas may lack other columns too (they are null there), or have them narrower; and have some that are not told.
 */
export interface CapturedRelation {
  readonly name: RelationName;
  readonly columns: readonly RelationColumn[];
  readonly files: readonly CapturedFile[];
}

export interface CapturedFile {
  readonly path: string;
  /** Values of the lake's partition columns, as text. */
  readonly partitions: Readonly<Record<string, string | null>>;
}

/** Everything a question names, at one moment. Disposing lets go of the files. */
export interface Capture extends AsyncDisposable {
  readonly relations: readonly CapturedRelation[];
  readonly completeness: readonly Completeness[];
  /** What whoever asked should know of the rows, in sentences: that only the newest of them are there. */
  readonly notes?: readonly string[];
}

export interface SqlCatalog {
  relations(options?: { readonly signal?: AbortSignal }): Promise<readonly RelationInfo[]>;
  /**
   * @throws QueryError for a name that there is not (`where: "sql"`), or for more than fits
   * @throws UnavailableError while one of them cannot be read
   */
  capture(names: readonly RelationName[], options: { readonly signal: AbortSignal }): Promise<Capture>;
}
