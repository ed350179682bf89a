import assert from "node:assert/strict";
import type { ResultValue } from "../../../../pipeline/sinks/sink.ts";
import { COLUMNS } from "../../../contracts/sink_contract.ts";
import { Random } from "../../../simulation/random.ts";
import { rowsOf } from "./killed_writer.ts";
import { testLake } from "./lake_subject.ts";

const WRITES = 90;
const KILLS = 6;
const SEED = Number(Deno.env.get("LAKE_SEED") ?? Math.floor(Math.random() * 1e6));
const WRITER = new URL("killed_writer.ts", import.meta.url).pathname;

/** Runs a writer from `from` on, kills it some time after it is ready, and tells from where the next one goes on. */
async function run(folder: string, from: number, killAfterMs: number | null): Promise<number> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", WRITER, folder, String(from), String(WRITES)],
    stdout: "piped",
    stderr: "piped",
  });
  const child = command.spawn();
  const errors = new Response(child.stderr).text();
  let text = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    const wasReady = text.includes("ready");
    text += chunk;
    if (!wasReady && text.includes("ready") && killAfterMs !== null) {
      timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    }
  }
  const { code, signal } = await child.status;
  clearTimeout(timer);
  assert.ok(signal === "SIGKILL" || code === 0, `${await errors} (seed ${SEED})`);
  await errors;
  return Math.max(from, ...[...text.matchAll(/^saved (\d+)$/gm)].map(([, saved]) => Number(saved)));
}

Deno.test("a process killed at random moments while it writes and flushes leaves each final row once, in the end", async () => {
  const random = new Random(SEED);
  await using lake = await testLake();
  let saved = 0;
  let kills = 0;
  for (; kills < KILLS && saved < WRITES; kills++) saved = await run(lake.folder, saved, random.int(0, 250));
  saved = await run(lake.folder, saved, null);
  assert.equal(saved, WRITES);
  const expected = new Map<string, ResultValue[]>();
  for (let write = 0; write < WRITES; write++) {
    for (const row of rowsOf(write)) expected.set(`${row[0]} ${row[2]}`, row);
  }
  const texts = (rows: Iterable<readonly ResultValue[]>) => Array.from(rows, (row) => JSON.stringify(row)).sort();
  assert.deepEqual(texts(await lake.read(COLUMNS)), texts(expected.values()), `LAKE_SEED=${SEED}, ${kills} kills`);
  assert.deepEqual([...Deno.readDirSync(`${lake.folder}/journal`)], []);
});
