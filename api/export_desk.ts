/**
 * Exports as the API sees them: a file that was made, on its way out.
 *
 * @module
 */
import type { ExportFormat } from "../pipeline/export/export_file.ts";

export interface ExportRequest {
  /** What to write: a pipeline's final results, or a table of the lake. */
  readonly source: { readonly pipeline: string } | { readonly table: string };
  readonly format: ExportFormat;
  /** Windows that start in `[fromMs, toMs)`; of raw records those with a Kafka timestamp in it. Milliseconds since the epoch. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

/** A whole file. Its body has to be read to its end, or cancelled. */
export interface ExportFile {
  readonly name: string;
  readonly bytes: number;
  readonly rows: number;
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

export interface ExportDesk {
  /**
   * Null when there is no such pipeline or table.
   *
   * @throws ConfigError when it has no rows that can be exported: results that go to a topic only
   * @throws UnavailableError when database or lake are away, or too many exports are being made
   */
  export(request: ExportRequest, options: { readonly signal: AbortSignal }): Promise<ExportFile | null>;
}
