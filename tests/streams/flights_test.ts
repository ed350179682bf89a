import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { testPipeline } from "../../pipeline/testing/mod.ts";
import flights from "../../streams/flights.ts";

const FILE = new URL("../../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url).pathname;

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return (await connection.runAndReadAll(sql)).getRowObjectsJS();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

const flight = (date: string, delay: number, more: Record<string, unknown> = {}) => ({
  date,
  delay,
  distance: 100,
  origin: "SFO",
  destination: "LAX",
  ...more,
});

Deno.test("an airport's day is its departures in UTC; delays may be negative, and no record is too old", async () => {
  await using test = await testPipeline(flights);
  await test.pipe([
    flight("1970-01-01T00:00:00Z", -10),
    flight("1970-01-01T23:59:59.999Z", 40, { distance: 2_147_483_647 }),
    flight("1970-01-01T12:00:00Z", 5, { distance: 2_147_483_647 }),
    flight("1970-01-02T00:00:00Z", 0),
    flight("1970-01-01T12:00:00Z", 7, { origin: "JFK" }),
  ]);
  await test.closeWindows();
  assert.deepEqual(
    test.results().map((row) => [row.origin, row.window_start, row.n, row.mean_delay, row.largest_delay, row.distance]),
    [
      ["JFK", "1970-01-01T00:00:00.000Z", 1, 7, 7, 100],
      ["SFO", "1970-01-01T00:00:00.000Z", 3, 35 / 3, 40, 4_294_967_394],
      ["SFO", "1970-01-02T00:00:00.000Z", 1, 0, 0, 100],
    ],
  );
});

Deno.test("a minute after midnight the day before has closed, though its window is a day long", async () => {
  await using test = await testPipeline(flights);
  await test.pipe([flight("2001-01-01T10:00:00Z", 1), flight("2001-01-02T00:00:59Z", 2)]);
  await test.pipe(flight("2001-01-01T23:00:00Z", 3));
  await test.pipe([flight("2001-01-02T00:01:00Z", 4), flight("2001-01-01T23:00:00Z", 5)]);
  assert.deepEqual(test.results().filter(({ final }) => final).map(({ n, mean_delay }) => [n, mean_delay]), [[2, 2]]);
  assert.deepEqual(test.late().map(({ window }) => window), ["2001-01-01T00:00:00.000Z"]);
});

Deno.test("two days of real flights give what a query written by hand gives, with a restart between", async () => {
  const days = `(SELECT * FROM '${FILE}' WHERE date < TIMESTAMP '2001-01-03')`;
  const records = await query(
    `SELECT epoch_ms(date) AS date, delay::INTEGER AS delay, distance::INTEGER AS distance, origin, destination FROM ${days} ORDER BY date`,
  );
  const expected = await query(
    `SELECT origin, strftime(date_trunc('day', date), '%Y-%m-%dT%H:%M:%S.000Z') AS window_start, count(*)::DOUBLE AS n,
      sum(delay)::DOUBLE / count(*) AS mean_delay, max(delay)::INTEGER AS largest_delay, sum(distance)::DOUBLE AS distance
      FROM ${days} GROUP BY ALL ORDER BY window_start, origin`,
  );
  assert.ok(records.length > 5_000 && expected.length > 300, `${records.length} flights, ${expected.length} rows`);
  await using test = await testPipeline(flights);
  const half = records.length >> 1;
  const ofRecord = ({ date, ...rest }: Record<string, unknown>) => ({ ...rest, date: Number(date) });
  await test.pipe(records.slice(0, half).map(ofRecord));
  await test.restart();
  await test.pipe(records.slice(half).map(ofRecord));
  await test.closeWindows();
  assert.deepEqual(
    test.results().map(({ origin, window_start, n, mean_delay, largest_delay, distance }) => {
      return { origin, window_start, n, mean_delay, largest_delay, distance };
    }),
    expected.map((row) => ({ ...row })),
  );
  assert.equal(test.ledger().aggregated, records.length);
});
