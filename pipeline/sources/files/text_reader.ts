/**
 * CSV and NDJSON files as rows: bytes to records, records to values.
 *
 * @module
 */
import { fileBytes } from "./file_bytes.ts";
import {
  BEGINNING,
  type Block,
  BLOCK_ROWS_MAX,
  FileFault,
  type FileReader,
  type Item,
  type Place,
} from "./file_reader.ts";
import { RAW_BYTES_MAX } from "./file_reader.ts";
import { RecordSplitter, type SplitRecord } from "./record_splitter.ts";

/** Bytes of a block; one record may be longer. */
const BLOCK_BYTES_MAX = 1024 * 1024;

/** A value of a record's text, or what is wrong with it. */
export type ReadRecord = (text: string, hasQuotes: boolean) => Readonly<Record<string, unknown>> | string;

export interface TextFormat {
  readonly csv: { readonly quote: number; readonly delimiter: number } | null;
  /** Made for each file; `header` is its first record where the format has one. @throws FileFault */
  readonly recordReader: (header: string | null, path: string) => ReadRecord;
  readonly hasHeader: boolean;
}

/** A reader of text files. Reading from a place costs what lies before it only in a compressed file. */
export function textReader(format: TextFormat): FileReader {
  return {
    async *read(path, from) {
      const first = await firstRecord(path, format);
      if (first === null) return;
      const read = format.recordReader(format.hasHeader ? first.text : null, path);
      yield* blocks(path, from.offset > first.after.offset ? from : first.after, { format, read });
    },
  };
}

/** The header, and where rows begin; null for an empty file. */
async function firstRecord(path: string, format: TextFormat): Promise<{ text: string; after: Place } | null> {
  const splitter = new RecordSplitter({ csv: format.csv, ...BEGINNING });
  let mark = 0;
  let isFirst = true;
  for await (const chunk of fileBytes(path, 0)) {
    if (isFirst) mark = byteOrderMark(chunk);
    splitter.push(isFirst ? chunk.subarray(mark) : chunk);
    isFirst = false;
    if (!format.hasHeader) return { text: "", after: { offset: mark, line: 1 } };
    const record = splitter.next();
    if (record !== null) return header(record, splitter, mark);
  }
  splitter.end();
  const record = splitter.next();
  return record === null ? null : header(record, splitter, mark);
}

function header(record: SplitRecord, splitter: RecordSplitter, mark: number): { text: string; after: Place } {
  const text = decode(record.bytes);
  if (record.problem !== null || text === null) {
    throw new FileFault(`has no header that can be read: line ${record.line} ${record.problem ?? NOT_UTF8}`);
  }
  return { text, after: { offset: mark + splitter.offset, line: splitter.line } };
}

function byteOrderMark(bytes: Uint8Array): number {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 3;
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw new FileFault("is UTF-16, and only UTF-8 is read: convert it, as with iconv -f UTF-16 -t UTF-8");
  }
  return 0;
}

async function* blocks(
  path: string,
  from: Place,
  { format, read }: { readonly format: TextFormat; readonly read: ReadRecord },
): AsyncGenerator<Block> {
  const splitter = new RecordSplitter({ csv: format.csv, ...from });
  let items: Item[] = [];
  let start = from.offset;
  const block = (): Block => {
    const after = { offset: splitter.offset, line: splitter.line };
    const made = { items, bytes: after.offset - start, after };
    items = [];
    start = after.offset;
    return made;
  };
  const isFull = () =>
    splitter.isBetween && (items.length >= BLOCK_ROWS_MAX || splitter.offset - start >= BLOCK_BYTES_MAX);
  for await (const chunk of fileBytes(path, from.offset)) {
    splitter.push(chunk);
    for (let record = splitter.next(); record !== null; record = splitter.next()) {
      items.push(itemOf(record, read));
      if (isFull()) yield block();
    }
  }
  splitter.end();
  for (let record = splitter.next(); record !== null; record = splitter.next()) {
    items.push(itemOf(record, read));
    if (isFull()) yield block();
  }
  if (splitter.offset > start) yield block();
}

const NOT_UTF8 = "is not UTF-8";

function itemOf({ bytes, line, problem, hasQuotes }: SplitRecord, read: ReadRecord): Item {
  const text = problem === null ? decode(bytes) : null;
  const value = text === null ? problem ?? NOT_UTF8 : read(text, hasQuotes);
  if (typeof value !== "string") return { line, value, raw: () => utf8.encode(text!.slice(0, RAW_BYTES_MAX)) };
  const raw = bytes.slice(0, RAW_BYTES_MAX);
  return { line, reason: value, raw: () => raw };
}

const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}
