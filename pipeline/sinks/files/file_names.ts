import { offsetText, partitionText, type Place } from "./manifests.ts";

/** A file's offsets, `[from, to)`, as its name says them. */
export interface FileRange extends Place {
  readonly from: number;
  readonly to: number;
}

/** Where the folders of all consumers begin. */
export const CONSUMER_PREFIX = "consumer-";

/** `consumer-1/products-00003-00000000000000000120-00000000000000000200.ndjson.gz` */
export function fileName(
  { topic, partition, from, to }: FileRange,
  { consumer, extension }: { readonly consumer: number; readonly extension: string },
): string {
  const name = `${topic}-${partitionText(partition)}-${offsetText(from)}-${offsetText(to)}.${extension}`;
  return `${CONSUMER_PREFIX}${consumer}/${name}`;
}

/** Null for a file of somebody else. */
export function parseFileName(key: string): FileRange | null {
  const match = /^consumer-\d+\/(.+)-(\d{5,})-(\d{20})-(\d{20})\.\w+(?:\.gz)?$/.exec(key);
  if (match === null) return null;
  const [, topic, partition, from, to] = match;
  return { topic, partition: Number(partition), from: Number(from), to: Number(to) };
}
