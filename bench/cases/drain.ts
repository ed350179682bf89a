import { postgresClient } from "../../pipeline/postgres_client.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { racePlan } from "../plan.ts";
import { runPipeline } from "../run_pipeline.ts";
import { dropTable, ensureTopic, load, type Servers } from "../servers.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { expectedRows, rowId } from "../workload.ts";
import { NO_SECURITY } from "../servers.ts";

const RECORDS = 5_000_000;
const TOPIC = "bench.tx";
/** What is read, for those who read it too. */
export const DRAINED = { topic: TOPIC, records: RECORDS } as const;
const TABLE = "bench_tailrace";

/**
 * A full topic read from its start: from the start of reading to the last row durable in PostgreSQL.
 *
 * @param options.checkpointEveryMs as `runPipeline` takes it
 * @param options.alongside begins with the reading, and is waited for before the time is taken; told when the last row is durable
 */
export async function drain(
  servers: Servers,
  options: {
    readonly checkpointEveryMs?: number;
    readonly alongside?: (drained: Promise<void>) => Promise<void>;
  } = {},
): Promise<Measured> {
  await fill(servers);
  await dropTable(servers, TABLE);
  const done = Promise.withResolvers<void>();
  const revisions = new Map<number, number>();
  let folded = 0;
  const meter = new Meter();
  const began = performance.now();
  const onRows = (rows: ResultRows) => {
    const [accounts, windows] = rows.values;
    const counts = rows.values[rows.columns.findIndex(({ role }) => role === "revision")];
    for (let row = 0; row < rows.length; row++) {
      const id = rowId(Number((accounts[row] as string).slice(4)), windows[row] as number);
      folded += (counts[row] as number) - (revisions.get(id) ?? 0);
      revisions.set(id, counts[row] as number);
    }
    if (folded === RECORDS) done.resolve();
  };
  const { runner, stop } = await runPipeline(servers, racePlan(TOPIC, TABLE), { onRows, ...options });
  const watch = setInterval(() => {
    const { state, reason } = runner.status();
    if (state === "failed") done.reject(new Error(reason ?? state));
  }, 100);
  const other = options.alongside?.(done.promise);
  await Promise.all([done.promise, other]).finally(() => clearInterval(watch));
  const seconds = (performance.now() - began) / 1000;
  const measured = meter.stop("drain", RECORDS, seconds);
  await stop();
  return { ...measured, ...await checkRows(servers) };
}

/** Loads the topic unless it is there. */
export async function fill(servers: Servers): Promise<void> {
  await ensureTopic(servers, TOPIC);
  await using cluster = new Cluster(servers.brokers, { clientId: "tailrace-bench", ...NO_SECURITY });
  const ends = await cluster.offsets(TOPIC, [0, 1, 2, 3], "latest");
  const stored = [...ends.values()].reduce((sum, end) => sum + end, 0);
  if (stored === 0) await load(servers, TOPIC, RECORDS);
  else if (stored !== RECORDS) throw new Error(`${TOPIC} holds ${stored} records instead of ${RECORDS}; delete it`);
}

/** Compares the table with the right answer, row by row. Sums of doubles may differ in the last digits. */
async function checkRows({ databaseUrl }: Servers): Promise<Record<string, number>> {
  const expected = expectedRows(RECORDS);
  const sql = postgresClient(databaseUrl);
  let rows = 0;
  let total = 0;
  try {
    const cursor = sql`SELECT account_id, window_start, n::float8 AS n, total, lo, hi FROM ${sql(TABLE)}`.cursor(
      10_000,
    );
    for await (const chunk of cursor) {
      for (const row of chunk) {
        const wanted = expected.get(rowId(Number(row.account_id.slice(4)), row.window_start.getTime()));
        const isRight = wanted && row.n === wanted.n && row.lo === wanted.lo && row.hi === wanted.hi &&
          Math.abs(row.total - wanted.total) < 1e-6;
        if (!isRight) throw new Error(`wrong row ${JSON.stringify(row)}, it should be ${JSON.stringify(wanted)}`);
        rows++;
        total += row.total;
      }
    }
  } finally {
    await sql.end();
  }
  if (rows !== expected.size) throw new Error(`${rows} rows instead of ${expected.size}`);
  return { rows, sum_total: round(total, 2) };
}
