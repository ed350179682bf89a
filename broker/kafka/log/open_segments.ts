import type { FilePool } from "./file_pool.ts";
import { Segment } from "./segment.ts";

/**
 * Opens or creates a partition's segments, oldest first. What follows a gap is removed, a torn or damaged tail cut off; the log
 * is told of both. All but the last are sealed.
 */
export function openSegments(
  folder: string,
  { files, log, nowMs }: {
    readonly files: FilePool;
    readonly log: (line: string) => void;
    readonly nowMs: number;
  },
): Segment[] {
  Deno.mkdirSync(folder, { recursive: true });
  const bases = [...Deno.readDirSync(folder)]
    .filter((entry) => /^\d{20}\.log$/.test(entry.name))
    .map((entry) => Number(entry.name.slice(0, 20)))
    .sort((a, b) => a - b);
  const segments: Segment[] = [];
  for (const base of bases) {
    const previous = segments.at(-1);
    const segment = new Segment(folder, base, files, nowMs);
    if (previous !== undefined && previous.nextOffset !== base) {
      log(`Removed ${segment.logPath}: the log before it ends at offset ${previous.nextOffset}`);
      segment.remove();
      continue;
    }
    recover(segment, log, nowMs);
    segments.push(segment);
  }
  for (const segment of segments.slice(0, -1)) {
    segment.seal();
    if (segment.syncedBytes === segment.sizeBytes) segment.dropIndex();
  }
  return segments.length > 0 ? segments : [new Segment(folder, 0, files, nowMs)];
}

function recover(segment: Segment, log: (line: string) => void, nowMs: number): void {
  const { mtime, size } = Deno.statSync(segment.logPath);
  const { cutBytes, damage } = segment.recover(mtime?.getTime() ?? nowMs, size);
  if (damage !== null) {
    log(
      `${segment.logPath} is damaged behind offset ${segment.nextOffset}: ${damage.wholeBatches} whole batches follow ` +
        `what cannot be read, so acknowledged records may be lost. The log ends there now; the ${cutBytes} bytes ` +
        `behind are kept in ${damage.keptIn}. Check the disk, and restore the log from a copy if there is one`,
    );
  } else if (cutBytes > 0) {
    log(`Cut ${cutBytes} bytes of an unfinished write off ${segment.logPath}; it ends at offset ${segment.nextOffset}`);
  }
}
