/**
 * Previews of edited definitions as the API sees them.
 *
 * @module
 */
import type { Definition } from "../pipeline/definition.ts";
import type { PreviewResult } from "../pipeline/preview/preview.ts";

export interface PreviewOptions {
  /** Of event time, up to the newest windows that have closed. */
  readonly minutes: number;
  /** A pipeline that runs here; the one of the definition's name where it is not told. */
  readonly comparedWith?: string;
  readonly signal: AbortSignal;
}

export interface PreviewDesk {
  /**
   * Computes a definition, whose schema is given in full, over the archive. Its texts are parsed and checked here, and nothing is
   * written.
   *
   * @throws ConfigError with everything that is wrong with the definition, or why it cannot be computed
   * @throws UnavailableError when brokers, lake or database are away, or too many previews are under way
   */
  preview(definition: Definition, options: PreviewOptions): Promise<PreviewResult>;
}
