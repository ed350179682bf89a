/** Which of DuckDB's failures pass by themselves. @module */
import { UnavailableError } from "../../errors.ts";

/**
 * A full disk, too many open files, and memory that others have at the moment, as UnavailableError; anything else as it is.
 * DuckDB tells kinds apart only in the message's first words.
 */
export function duckdbFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || !/^(IO|Out of Memory) Error/.test(error.message)) return error;
  return new UnavailableError(`cannot ${doing}: ${error.message.split("\n")[0]}`, { cause: error });
}
