/** Where a table's data files are, in the store and in the log. @module */
import { ConfigError } from "../../../errors.ts";
import type { DataFile } from "./table.ts";

/** The folder's name for a partition without a value, as Hive has it. */
const NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__";

/**
 * A new path for a data file, as the log has it: `ingest_date=2026-11-21/part-<uuid>.zstd.parquet`. The folder's name has its
 * values escaped as Hive does; the log escapes the whole path once more, as the protocol wants it. Readers take values from the
 * log, never from the folder.
 */
export function newDataPath(
  partitionColumns: readonly string[],
  partitionValues: Readonly<Record<string, string | null>>,
): string {
  const folders = partitionColumns.map((name) => {
    const value = partitionValues[name];
    return `${escape(name)}=${value === null || value === "" ? NULL_PARTITION : escape(value)}`;
  });
  return [...folders, `part-${crypto.randomUUID()}.zstd.parquet`].map(encodeURIComponent).join("/")
    .replaceAll("%3D", "=");
}

/**
 * A data file's key in the store.
 *
 * @throws ConfigError when the log names a file outside the table's folder
 */
export function keyOf(table: string, file: Pick<DataFile, "path">): string {
  let path: string;
  try {
    path = decodeURIComponent(file.path);
  } catch {
    path = "/";
  }
  if (/^\/|^[a-z][a-z0-9+.-]*:/i.test(path) || path.split("/").includes("..")) {
    throw new ConfigError({ where: table, problem: `its log names a file outside the table's folder: ${file.path}` });
  }
  return `${table}/${path}`;
}

function escape(text: string): string {
  return text.replace(
    /[^A-Za-z0-9_.-]/gu,
    (character) =>
      Array.from(new TextEncoder().encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
        .join(""),
  );
}
