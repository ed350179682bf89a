/**
 * A process that writes known rows into a lake until it is killed: `killed_writer.ts FOLDER FROM TO`, the numbers of the writes.
 * Says `saved N` when the writes before N are durable, as a checkpoint does.
 */
import { LakeDatabase } from "../../../../pipeline/sinks/lake/database.ts";
import { createDiskStore } from "../../../../pipeline/sinks/lake/disk_store.ts";
import { openLake } from "../../../../pipeline/sinks/lake/open_lake.ts";
import { createLakeSink } from "../../../../pipeline/sinks/lake/results/lake_sink.ts";
import type { ResultValue } from "../../../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows } from "../../../contracts/sink_contract.ts";
import { PIPELINE, TABLE } from "./lake_subject.ts";

const KEYS = 40;
const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1, 23, 30);

/** Of every write: a window of all keys, and of the one before it some revised. */
export function rowsOf(write: number): ResultValue[][] {
  const row = (key: number, window: number, revision: number) => {
    const start = START + window * MINUTE;
    return [`key ${key}`, key, start, start + MINUTE, `${window}.${revision}0`, revision, true];
  };
  const fresh = Array.from({ length: KEYS }, (_, key) => row(key, write, 1));
  const revised = Array.from({ length: KEYS }, (_, key) => row(key, write - 1, 2)).filter((_, key) =>
    key % 7 === write % 7
  );
  return write === 0 ? fresh : [...fresh, ...revised];
}

if (import.meta.main) {
  const [folder, from, to] = [Deno.args[0], Number(Deno.args[1]), Number(Deno.args[2])];
  const signal = new AbortController().signal;
  await using lake = openLake({
    store: createDiskStore({ folder: `${folder}/lake` }),
    database: new LakeDatabase({
      scratch: `${folder}/scratch-${Deno.pid}`,
      memoryBytesMax: 512 * 1024 ** 2,
      threads: 1,
    }),
  });
  await using sink = createLakeSink({
    lake,
    table: TABLE,
    columns: COLUMNS,
    pipeline: PIPELINE,
    flush: { everyMs: 30, rows: 200 },
    folder: `${folder}/journal`,
  });
  await sink.resume(null, { signal });
  console.log("ready");
  for (let write = from; write < to; write++) {
    await sink.write(resultRows(COLUMNS, rowsOf(write)), { epoch: write, signal });
    // Checkpoints come more rarely than writes: what follows the last is written again.
    if (write % 3 === 0) console.log(`saved ${write + 1}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await sink.flush();
  console.log(`saved ${to}`);
}
