import type { ResultRows, RowsOrigin } from "./sink.ts";

/** Some of the rows, by their numbers, rising. Where they were stays: offsets that are left out are somebody else's. */
export function pickRows(rows: ResultRows, picked: readonly number[]): ResultRows {
  const { columns, origin } = rows;
  return {
    columns,
    length: picked.length,
    values: rows.values.map((values) => picked.map((row) => values[row])),
    ...(origin
      ? {
        origin: withTombstones(
          { ...origin, offsets: picked.map((row) => origin.offsets[row]) },
          picked.flatMap((row, at) => origin.tombstones?.has(row) ? [at] : []),
        ),
      }
      : {}),
  };
}

/** The rows `[from, to)`, and the offsets from the first of them up to the next one's. */
export function sliceRows(rows: ResultRows, from: number, to: number): ResultRows {
  const { columns, origin } = rows;
  return {
    columns,
    length: to - from,
    values: rows.values.map((values) => values.slice(from, to)),
    ...(origin
      ? {
        origin: withTombstones({
          ...origin,
          offsets: origin.offsets.slice(from, to),
          from: from === 0 ? origin.from : origin.offsets[from],
          to: to === rows.length ? origin.to : origin.offsets[to],
        }, Array.from(origin.tombstones ?? [], (row) => row - from).filter((row) => row >= 0 && row < to - from)),
      }
      : {}),
  };
}

/** Rows of one partition that follow on each other, as one. */
export function joinRows(all: readonly ResultRows[]): ResultRows {
  if (all.length === 1) return all[0];
  const [{ columns, origin }] = all;
  const tombstones: number[] = [];
  let length = 0;
  for (const rows of all) {
    for (const row of rows.origin?.tombstones ?? []) tombstones.push(length + row);
    length += rows.length;
  }
  return {
    columns,
    length,
    values: columns.map((_, column) => all.flatMap(({ values }) => values[column])),
    ...(origin
      ? {
        origin: withTombstones({
          ...origin,
          to: all.at(-1)!.origin!.to,
          offsets: all.flatMap(({ origin }) => origin!.offsets),
        }, tombstones),
      }
      : {}),
  };
}

function withTombstones({ tombstones: _, ...origin }: RowsOrigin, rows: readonly number[]): RowsOrigin {
  return rows.length === 0 ? origin : { ...origin, tombstones: new Set(rows) };
}

/** About what the rows take in memory, bytes: cheap, and the same for the same rows. */
export function rowsBytes({ values, length }: ResultRows): number {
  let bytes = 0;
  for (const column of values) {
    for (let row = 0; row < length; row++) {
      const value = column[row];
      if (typeof value === "string") bytes += 16 + 2 * value.length;
      else if (value instanceof Uint8Array) bytes += 64 + value.length;
      else bytes += 8;
    }
  }
  return bytes;
}
