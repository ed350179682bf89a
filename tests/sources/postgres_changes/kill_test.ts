import assert from "node:assert/strict";
import type postgres from "postgres";
import { borrowPostgres, rowsOf, testDatabase } from "./database.ts";
import { type Fate, Topics } from "./topics.ts";

const SEEDS = Number(Deno.env.get("TAILRACE_TEST_SEEDS") ?? 3);
const FIRST_SEED = Number(Deno.env.get("TAILRACE_TEST_SEED") ?? 1);
const RUNS = 8;
const ROWS = 400;

for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
  Deno.test(`ended anywhere while others write, nothing is lost and nothing is twice, seed ${seed}`, async () => {
    await using server = await borrowPostgres();
    await using database = await testDatabase(server);
    const { sql, url, slot } = database;
    const random = randomOf(seed);
    // One in an order of texts that is not that of their bytes, and one whose key has two columns.
    await sql.unsafe(`
      CREATE TABLE a (id text COLLATE "und-x-icu" PRIMARY KEY, v int, big text);
      ALTER TABLE a ALTER big SET STORAGE EXTERNAL;
      CREATE TABLE b (x int, y text, v numeric(10, 2), PRIMARY KEY (y, x));
      INSERT INTO a SELECT (CASE WHEN i % 2 = 0 THEN 'é' WHEN i % 3 = 0 THEN 'Z' ELSE 'a\\' END) || i, i, repeat('x', 3000)
        FROM generate_series(1, ${ROWS}) i;
      INSERT INTO b SELECT i % 7, 'b' || i, i FROM generate_series(1, ${ROWS}) i`);
    const topics = new Topics(url, { tables: ["a", "b"], slot });
    topics.bounds = { batchRecords: 1 + random(120), snapshotAgeMaxMs: random(2) === 0 ? 5 : 60_000 };
    const stop = new AbortController();
    const writers = [
      write(sql, { slot, random, signal: stop.signal }),
      write(sql, { slot, random, signal: stop.signal }),
    ];
    try {
      for (let run = 0; run < RUNS; run++) {
        let left = random(8);
        const last: Fate = random(2) === 0 ? "lose" : "commit untold";
        const pause = random(3) === 0 ? 1 + random(20) : 0;
        await topics.run({
          fate: async () => {
            if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
            return left-- > 0 ? "commit" : last;
          },
        });
      }
    } finally {
      stop.abort();
      await Promise.all(writers);
    }
    await topics.run();
    const applied = await topics.applied();
    const a = await rowsOf(
      sql,
      `SELECT json_build_object('id', id)::jsonb::text AS key, to_json(a)::text AS row FROM a`,
    );
    assert.deepEqual(sorted(applied.get("cdc.public.a") ?? new Map()), sorted(a));
    const b = await rowsOf(
      sql,
      `SELECT json_build_object('x', x, 'y', y)::text AS key, json_build_object('x', x, 'y', y, 'v', v::text)::text AS row FROM b`,
    );
    assert.deepEqual(sorted(applied.get("cdc.public.b") ?? new Map()), sorted(b));
    const changes = (await topics.read()).filter(({ value }) => value !== null && value.op !== "r");
    const names = changes.map(({ topic, key, value }) =>
      `${topic} ${key} ${value!.op} ${value!.source.lsn}.${value!.source.index}`
    );
    assert.equal(new Set(names).size, names.length, "each change once");
    assert.ok(changes.length > 50, `${changes.length} changes came`);
  });
}

/** By key, whose spaces do not count. */
function sorted(rows: ReadonlyMap<string, unknown>): unknown[] {
  return [...rows].map(([key, row]) => [JSON.stringify(JSON.parse(key)), row] as const)
    .sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}

/** Whatever a table takes, in transactions short and long, of which some are given up. */
async function write(
  sql: postgres.Sql,
  { slot, random, signal }: { slot: string; random: (below: number) => number; signal: AbortSignal },
): Promise<void> {
  let isSlotMade = false;
  const statements: readonly (() => string)[] = [
    () => `UPDATE a SET v = v + 1 WHERE v % 20 = ${random(20)}`,
    () => `UPDATE a SET big = repeat('${random(9)}', 3000 + ${random(3000)}), v = v WHERE v % 50 = ${random(50)}`,
    () => `DELETE FROM a WHERE v % 97 = ${random(97)}`,
    () =>
      `INSERT INTO a SELECT chr(97 + ${random(20)}) || i, i, '${random(9)}' FROM generate_series(1, ${random(30)}) i
       ON CONFLICT (id) DO UPDATE SET v = excluded.v, big = excluded.big`,
    () => `UPDATE a SET id = id || '${random(9)}', big = 'small' WHERE v % 60 = ${random(60)} AND length(id) < 12`,
    () => `UPDATE b SET v = v + 0.01 WHERE x = ${random(7)}`,
    () => `UPDATE b SET x = x + 10 WHERE x = ${random(7)} AND v < 30`,
    () => `DELETE FROM b WHERE v > ${random(ROWS)} AND x % 5 = ${random(5)}`,
    () =>
      `INSERT INTO b SELECT i, 'n' || ${random(50)}, i FROM generate_series(1, ${random(40)}) i ON CONFLICT DO NOTHING`,
    // A TRUNCATE committed while the slot is made is most likely what PostgreSQL 18.4 once could not decode here.
    () => isSlotMade && random(12) === 0 ? "TRUNCATE b" : "UPDATE b SET v = 1 WHERE v = 2",
    () => `SAVEPOINT s; DELETE FROM b; ROLLBACK TO s`,
  ];
  while (!signal.aborted) {
    isSlotMade ||= (await sql`
      SELECT 1 FROM pg_replication_slots WHERE slot_name = ${slot} AND confirmed_flush_lsn IS NOT NULL`).length > 0;
    try {
      await sql.begin(async (transaction) => {
        for (let i = random(5); i >= 0; i--) {
          await transaction.unsafe(statements[random(statements.length)]());
          if (random(4) === 0) await new Promise((resolve) => setTimeout(resolve, random(15)));
        }
        if (random(6) === 0) throw new GivenUp();
      });
    } catch (error) {
      // Two writers may wait for each other.
      if (!(error instanceof GivenUp) && (error as { code?: string }).code !== "40P01") {
        if ((error as { code?: string }).code !== "23505") throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, random(10)));
  }
}

class GivenUp extends Error {}

/** Mulberry32. */
function randomOf(seed: number): (below: number) => number {
  let state = seed * 0x9e3779b9 | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 4294967296 * below);
  };
}
