/** What questions may take, each and together. */
export interface SqlLimits {
  /** Questions asked at a time; each is a process of up to `memoryBytesMax` and some 300 MB. */
  readonly questionsMax: number;
  /** Questions that wait for one of those to end; more are refused. */
  readonly waitingMax: number;
  /** How long a question waits at most. */
  readonly waitMs: number;
  /** How long one may be worked on; the time that its reader takes does not count. */
  readonly answerMs: number;
  /** DuckDB's memory for one. */
  readonly memoryBytesMax: number;
  readonly threads: number;
  /** Bytes of an answer. */
  readonly bytesMax: number;
  /** Rows of an answer that is told no limit, and the largest limit. */
  readonly rowsMax: number;
  /** The same for JSON, which is mostly read by people and browsers. */
  readonly jsonRows: number;
  /** Bytes of an answer that are there before it begins: until then it can be refused properly. */
  readonly heldBytes: number;
  /** A reader that takes nothing for so long is cut off. */
  readonly stallMs: number;
  /** A reader has to have all of it after so long. */
  readonly totalMs: number;
}

export const SQL_LIMITS: SqlLimits = {
  questionsMax: 2,
  waitingMax: 8,
  waitMs: 10_000,
  answerMs: 30_000,
  memoryBytesMax: 512 * 1024 * 1024,
  threads: 2,
  bytesMax: 1024 * 1024 * 1024,
  rowsMax: 10_000_000,
  jsonRows: 10_000,
  heldBytes: 1024 * 1024,
  stallMs: 20_000,
  totalMs: 600_000,
};
