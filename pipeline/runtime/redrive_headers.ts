/**
 * The headers of a late record or dead letter that was written to its partition again.
 *
 *     tailrace.redrive.offset     offset of the original in the same partition, decimal text
 *     tailrace.redrive.attempt    1 for the first time it came back, 2 for the second, ...
 *     tailrace.redrive.pipeline   whose letter it was: the other pipelines over the topic have counted the original
 *
 * @module
 */
import { readHeaders } from "../log/record_headers.ts";
import type { HeaderList } from "../log/record_batch_writer.ts";
import type { Records } from "../log/records.ts";

export const REDRIVE_OFFSET = "tailrace.redrive.offset";
export const REDRIVE_ATTEMPT = "tailrace.redrive.attempt";
export const REDRIVE_PIPELINE = "tailrace.redrive.pipeline";

/** A record's headers for when it is written again: its own, and these in place of those of an earlier time. */
export function redriveHeaders(
  own: HeaderList,
  { offset, attempt, pipeline }: { readonly offset: number; readonly attempt: number; readonly pipeline: string },
): HeaderList {
  const header = (name: string, text: string) => [name, new TextEncoder().encode(text)] as const;
  const told = [
    header(REDRIVE_OFFSET, String(offset)),
    header(REDRIVE_ATTEMPT, String(attempt)),
    header(REDRIVE_PIPELINE, pipeline),
  ];
  return [...own.filter(([name]) => told.every(([other]) => other !== name)), ...told];
}

/** A row of a chunk that came back. */
export interface RedrivenRow {
  readonly row: number;
  /** Offset of the original. */
  readonly source: number;
  readonly pipeline: string | null;
}

const MARK = new TextEncoder().encode("tailrace.redrive.");

/** The rows of a chunk that came back, in order; almost always none, and then nothing is allocated. */
export function redrivenRows(records: Records): readonly RedrivenRow[] {
  const { headersStart, headersEnd, length } = records;
  let found: RedrivenRow[] | null = null;
  for (let row = 0; row < length; row++) {
    // One byte says that there are no headers.
    if (headersEnd[row] - headersStart[row] <= MARK.length) continue;
    if (!contains(records.data, headersStart[row], headersEnd[row])) continue;
    const redriven = readRow(records, row);
    if (redriven !== null) (found ??= []).push(redriven);
  }
  return found ?? NONE;
}

const NONE: readonly RedrivenRow[] = [];

function contains(data: Uint8Array, start: number, end: number): boolean {
  const last = end - MARK.length;
  for (let at = start; at <= last; at++) {
    if (data[at] !== MARK[0]) continue;
    let matched = 1;
    while (matched < MARK.length && data[at + matched] === MARK[matched]) matched++;
    if (matched === MARK.length) return true;
  }
  return false;
}

function readRow(records: Records, row: number): RedrivenRow | null {
  const headers = readHeaders(records.data, records.headersStart[row], records.headersEnd[row]) ?? [];
  const text = (name: string) => {
    const value = headers.findLast(([known]) => known === name)?.[1];
    return value ? new TextDecoder().decode(value) : null;
  };
  const offset = text(REDRIVE_OFFSET);
  // Anything else is not ours, and counts as the record it is: a program may have copied the headers to a record of its own.
  if (offset === null || !/^\d{1,15}$/.test(offset) || Number(offset) >= records.offsets[row]) return null;
  return { row, source: Number(offset), pipeline: text(REDRIVE_PIPELINE) };
}
