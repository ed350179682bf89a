import type { SecretReference } from "../../secrets.ts";

/** A store that speaks S3, by reference. */
export interface FilesBucket {
  /** Scheme, host and port: `https://minio.example:9000`; Amazon's own in the region unless told. */
  readonly endpoint?: string;
  readonly region: string;
  readonly accessKeyId: SecretReference;
  readonly secretAccessKey: SecretReference;
}

/** Where files go. */
export interface FilesOptions {
  /** Where the folder is: `file:///srv/out` or `s3://bucket/prefix`; `files` in the data folder unless told. */
  readonly url?: string;
  /** Needed for `s3://`. */
  readonly s3?: FilesBucket;
}

export interface JsonFilesOptions extends FilesOptions {
  /** True unless told: `.ndjson.gz` instead of `.ndjson`. */
  readonly gzip?: boolean;
}

export type ParquetFilesOptions = FilesOptions;

export interface JsonFilesSpec extends JsonFilesOptions {
  readonly kind: "jsonFiles";
  readonly folder: string;
}

export interface ParquetFilesSpec extends ParquetFilesOptions {
  readonly kind: "parquetFiles";
  readonly folder: string;
}

export type FilesSpec = JsonFilesSpec | ParquetFilesSpec;

/**
 * Records as lines of JSON, in files that are complete when they are there, each record in one of them: a folder for each consumer,
 * and a manifest that says which files count. See docs/json-files.md.
 *
 * @param folder its name, which may have `/` in it: `products`, `shop/products`
 */
export function jsonFiles(folder: string, options: JsonFilesOptions = {}): JsonFilesSpec {
  return { kind: "jsonFiles", folder, ...options };
}

/**
 * The same as Parquet, a column for each field. See docs/json-files.md.
 *
 * @param folder its name, which may have `/` in it: `products`, `shop/products`
 */
export function parquetFiles(folder: string, options: ParquetFilesOptions = {}): ParquetFilesSpec {
  return { kind: "parquetFiles", folder, ...options };
}
