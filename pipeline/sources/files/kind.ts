/**
 * Files as a kind of source.
 *
 * @module
 */
import { parseSchema, type RecordType } from "../../codec/schema.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { parseDuration } from "../../plan/durations.ts";
import { unknownOptions } from "../../plan/unknown_options.ts";
import { createRecordMaker } from "../record_maker.ts";
import type { SourceContext, SourceKind } from "../source_spec.ts";
import { csvFormat } from "./csv_format.ts";
import type { FilesSpec } from "./definition.ts";
import { type FileReader } from "./file_reader.ts";
import { FilesSource, type FilesSourceOptions } from "./files_source.ts";
import { jsonFormat } from "./json_format.ts";
import { parquetReader } from "./parquet_reader.ts";
import { textReader } from "./text_reader.ts";

const FORMATS = ["csv", "ndjson", "parquet", "auto"];
const EVERY = "1s";
const STABLE_FOR = "2s";
const EVERY_MS_MIN = 50;
/** Sets of ignored columns that are told, one each. */
const TOLD_MAX = 100;

type Format = "csv" | "ndjson" | "parquet";

const CHECKS: Readonly<Record<Exclude<keyof FilesSpec, "kind">, (spec: FilesSpec) => string | null>> = {
  path: ({ path }) =>
    typeof path !== "string" || path === "" || path.endsWith("/")
      ? 'must be a file or a pattern of files, as "incoming/*.csv"'
      : path.split("/").includes("..")
      ? "leads out of its folder with ..: give the path from / on"
      : null,
  format: ({ format }) => oneOf(format, FORMATS),
  watch: ({ watch }) => oneOf(watch, [true, false]),
  every: ({ every }) => durationFault(every, EVERY_MS_MIN),
  stableFor: ({ stableFor }) => durationFault(stableFor, 0),
  changed: ({ changed }) => oneOf(changed, ["tell", "again"]),
  delimiter: ({ delimiter, quote }) =>
    signFault(delimiter) ?? (delimiter === (quote ?? '"') ? "is the quote too" : null),
  quote: ({ quote }) => signFault(quote),
  header: ({ header, columns }) =>
    oneOf(header, [true, false]) ?? (header === false && !columns ? "is false: name the columns in `columns`" : null),
  columns: ({ columns, header }) =>
    columns === undefined
      ? null
      : !Array.isArray(columns) || columns.length === 0 || columns.some((name) => typeof name !== "string")
      ? 'must be names, as ["id", "price"]'
      : header !== false
      ? "are named by the header: set `header: false` where there is none"
      : null,
};

export const filesKind: SourceKind<FilesSpec> = {
  to: "topic",
  check(spec) {
    const faults: Fault[] = unknownOptions(spec, CHECKS, "from");
    for (const [option, check] of Object.entries(CHECKS)) {
      const problem = check(spec);
      if (problem !== null) faults.push({ where: `from.${option}`, problem });
    }
    return faults;
  },
  describe: ({ path }) => `files ${path}`,
  // deno-lint-ignore require-await -- so that what is wrong is a rejection
  open: async (spec, context) => new FilesSource(filesOptions(spec, context)),
};

/** @throws ConfigError when what is written is no record */
export function filesOptions(
  spec: FilesSpec,
  { plan: { to, name }, schemaId, log }: SourceContext,
): FilesSourceOptions {
  if (to.kind !== "topic") throw new Error("files writes to one topic");
  const record = parseSchema(to.schema);
  if (record.kind !== "record") throw new ConfigError({ where: `${name}.to`, problem: "rows are written as a record" });
  const told = new Set<string>();
  const onIgnored = (columns: readonly string[]) => {
    const names = columns.slice(0, 20).map((column) => column || '""').join(", ");
    if (told.size >= TOLD_MAX || told.has(names)) return;
    told.add(names);
    log("info", `${spec.path}: no field takes ${names}`);
  };
  const readers = new Map<string, FileReader>();
  return {
    path: spec.path,
    readerOf: (file) => {
      const format = formatOf(file, spec);
      if (format === null) return null;
      const key = `${format}${delimiterOf(file, spec)}`;
      const reader = readers.get(key) ?? readerFor(format, file, { spec, record, onIgnored });
      readers.set(key, reader);
      return reader;
    },
    maker: createRecordMaker({ schema: to.schema, schemaId, key: to.key }),
    watch: spec.watch ?? true,
    everyMs: parseDuration(spec.every ?? EVERY) as number,
    stableMs: parseDuration(spec.stableFor ?? STABLE_FOR) as number,
    changed: spec.changed ?? "tell",
    log,
  };
}

function readerFor(
  format: Format,
  file: string,
  { spec, record, onIgnored }: {
    readonly spec: FilesSpec;
    readonly record: RecordType;
    readonly onIgnored: (columns: readonly string[]) => void;
  },
): FileReader {
  switch (format) {
    case "csv": {
      const columns = spec.header === false ? spec.columns! : null;
      return textReader(
        csvFormat(record, { delimiter: delimiterOf(file, spec), quote: spec.quote ?? '"', columns, onIgnored }),
      );
    }
    case "ndjson":
      return textReader(jsonFormat(record, onIgnored));
    case "parquet":
      return parquetReader(record, onIgnored);
  }
}

function formatOf(file: string, { format = "auto" }: FilesSpec): Format | null {
  if (format !== "auto") return format;
  const name = file.toLowerCase();
  if (/\.(csv|tsv)(\.gz)?$/.test(name)) return "csv";
  if (/\.(ndjson|jsonl|json)(\.gz)?$/.test(name)) return "ndjson";
  return name.endsWith(".parquet") ? "parquet" : null;
}

function delimiterOf(file: string, { delimiter }: FilesSpec): string {
  return delimiter ?? (/\.tsv(\.gz)?$/i.test(file) ? "\t" : ",");
}

function oneOf(value: unknown, allowed: readonly unknown[]): string | null {
  if (value === undefined || allowed.includes(value)) return null;
  return `is ${JSON.stringify(value)}, not one of ${allowed.join(", ")}`;
}

function durationFault(value: unknown, leastMs: number): string | null {
  if (value === undefined) return null;
  const ms = parseDuration(value);
  if (typeof ms === "string") return ms;
  return ms < leastMs ? `must be ${leastMs}ms at least` : null;
}

function signFault(sign: unknown): string | null {
  if (sign === undefined || (typeof sign === "string" && /^[\t -~]$/.test(sign))) return null;
  return "must be one character, of ASCII";
}
