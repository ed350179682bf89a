/**
 * `files({ .. })`: a file, or the files of a folder, each read once.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";

export interface FilesOptions {
  /**
   * A file, or a pattern: `*` stands for part of a name, `**` for any folders, `?` for one character. Relative to the project, or
   * absolute. Names that begin with a dot, or end in `.tmp` or `.part`, are left alone.
   */
  readonly path: string;
  /** Told by the name unless given: `.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json` (a line each), also `.gz`, and `.parquet`. */
  readonly format?: "csv" | "ndjson" | "parquet" | "auto";
  /** Whether files that come later are read too; true unless told. */
  readonly watch?: boolean;
  /** From one look at the folder to the next; 1 second unless told. */
  readonly every?: Duration;
  /** A file is read once it has not grown for so long; 2 seconds unless told. */
  readonly stableFor?: Duration;
  /** What becomes of a file that changes after it was read: it is told (unless given), or told and read `"again"` as a whole. */
  readonly changed?: "tell" | "again";
  /** What stands between the fields of a CSV file: a comma, or a tab in `.tsv`, unless told. */
  readonly delimiter?: string;
  /** What stands around a CSV field with delimiters, quotes or line ends in it; `"` unless told. */
  readonly quote?: string;
  /** Whether a CSV file's first line names its columns; true unless told. Without one, `columns` names them. */
  readonly header?: boolean;
  /** Names of a CSV file's columns, in order, where it has no header. */
  readonly columns?: readonly string[];
}

/** As it was written, not checked yet. */
export interface FilesSpec extends FilesOptions {
  readonly kind: "files";
}

/** Rows of files: CSV, NDJSON or Parquet, each file once. */
export function files(options: FilesOptions): FilesSpec {
  return { kind: "files", ...options };
}
