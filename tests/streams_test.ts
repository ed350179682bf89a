import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { ConfigError } from "../pipeline/errors.ts";
import { checkStreams, formatCheck } from "../pipeline/plan/check.ts";
import { duckdbSql } from "../pipeline/plan/duckdb_sql.ts";
import { loadStreams } from "../pipeline/plan/load.ts";
import { schemaTypes } from "../pipeline/plan/schema_types.ts";
import { readSchemas } from "../pipeline/plan/schemas.ts";

const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const MOD = new URL("../pipeline/mod.ts", import.meta.url).href;
const FLIGHTS = new URL("../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url).pathname;

/** A project folder of streams and schemas, with the real pipeline beside them; removed at the end. */
async function project(files: Record<string, string>) {
  const dir = await Deno.makeTempDir({ prefix: "tailrace_streams_" });
  for (const part of ["streams", "schemas"]) await Deno.mkdir(`${dir}/${part}`);
  await Deno.symlink(`${ROOT}/pipeline`, `${dir}/pipeline`);
  for (const [path, text] of Object.entries(files)) await Deno.writeTextFile(`${dir}/${path}`, text);
  return { dir, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

const NOTE =
  `{"type": "record", "name": "Note", "fields": [{"name": "at", "type": "long"}, {"name": "by", "type": "string"}]}`;
const stream = (name: string, extra = "") =>
  `import { count, pipeline, postgres, topic, tumbling } from "${MOD}";
export default pipeline({ name: "${name}", from: topic("notes", { schema: "note", eventTime: "at" }), groupBy: ["by"],
  window: tumbling("1 hour"), select: { n: count() }, to: [postgres("${name}")], ${extra} });`;

Deno.test("the streams of this repository are fit to run and their schemas' types are fresh", async () => {
  const report = await checkStreams(`${ROOT}/streams`);
  assert.deepEqual(report.faults, []);
  assert.deepEqual(report.streams.map(({ name }) => name), [
    "account_minute",
    "category_declines",
    "category_prices",
    "flights",
    "sensor_averages",
    "user_events",
  ]);
  assert.equal(
    formatCheck(report).split("\n")[1],
    "account_minute     transactions     account_id           1 minute    " +
      "table account_minute, topic account-minute, lake table account_minute",
  );
});

Deno.test("streams are loaded by name, and a name that is not there is a fault that lists those that are", async () => {
  const loaded = await loadStreams(`${ROOT}/streams`, { only: ["flights"] });
  assert.deepEqual(loaded.map(({ file, plan }) => [file, plan.name, plan.topic]), [[
    "flights.ts",
    "flights",
    "flights",
  ]]);
  await assert.rejects(loadStreams(`${ROOT}/streams`, { only: ["flight"] }), (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(
      error.message,
      /flight: there is no such pipeline, source or delivery; .* has account_minute, category_declines, cat/,
    );
    return true;
  });
});

Deno.test("the faults of all files come at once, and what is fine is still shown", async () => {
  await using folder = await project({
    "schemas/note.avsc": NOTE,
    "schemas/mod.ts": "// something old",
    "streams/broken.ts": "export default 5 +;",
    "streams/fine.ts": stream("fine"),
    "streams/nothing.ts": "export const x = 1;",
    "streams/other.ts": stream("other", `to: [postgres("fine")]`),
    "streams/wrong.ts": stream("wrong", `groupBy: ["bye"], where: "at = 'x' OR by = 'me'"`),
  });
  const report = await checkStreams(`${folder.dir}/streams`);
  assert.deepEqual(report.streams.map(({ name }) => name), ["fine", "other"]);
  assert.deepEqual(report.faults.map(({ where }) => where.replace(folder.dir, "")), [
    "broken.ts",
    "nothing.ts",
    "wrong.groupBy",
    "wrong.where",
    "other",
    "/schemas/mod.ts",
  ]);
  const text = formatCheck(report);
  assert.match(text, /6 faults to fix:\n {2}broken\.ts: cannot be imported: /);
  assert.match(
    text,
    /wrong\.where: .* a field called like a word of SQL goes in double quotes, "at"\n {6}at = 'x' OR by = 'me'\n {9}\^/,
  );
  assert.match(text, /other: postgres\("fine"\) in other\.ts is taken by fine\.ts/);
  assert.match(text, /run `deno task schemas`/);
});

Deno.test("a schema that is not one is a fault that names its file", async () => {
  await using folder = await project({
    "schemas/a.avsc": "{",
    "schemas/b.avsc": `"int"`,
    "schemas/c.avsc": `{"type": "record", "name": "C", "fields": [{"name": "x", "type": "txt"}]}`,
    "streams/fine.ts": stream("fine"),
  });
  const { faults } = await checkStreams(`${folder.dir}/streams`);
  for (const [i, name] of ["a", "b", "c"].entries()) assert.match(faults[i].where, new RegExp(`/${name}\\.avsc$`));
});

Deno.test("a folder that is missing or empty is a fault", async () => {
  await using folder = await project({ "schemas/note.avsc": NOTE });
  assert.match((await checkStreams(`${folder.dir}/streams`)).faults[0].problem, /no pipeline/);
  assert.match((await checkStreams(`${folder.dir}/steams`)).faults[0].problem, /no such folder/);
  await Deno.remove(`${folder.dir}/schemas`, { recursive: true });
  assert.match((await checkStreams(`${folder.dir}/streams`)).faults[0].problem, /no such folder/);
});

Deno.test("the flights plan as SQL answers what a query written by hand answers, for three million flights", async () => {
  const [{ plan }] = await loadStreams(`${ROOT}/streams`, { only: ["flights"] });
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    const byHand =
      `SELECT origin, date_trunc('day', date) AS window_start, date_trunc('day', date) + INTERVAL 1 DAY AS window_end,
      count(*) AS n, sum(delay)::DOUBLE / count(*) AS mean_delay, max(delay)::INTEGER AS largest_delay, sum(distance)::BIGINT AS distance
      FROM '${FLIGHTS}' GROUP BY ALL`;
    const planned = duckdbSql(plan, `'${FLIGHTS}'`);
    const difference = await connection.runAndReadAll(
      `SELECT (SELECT count(*) FROM (${byHand})), (SELECT sum(n) FROM (${planned})),
        (SELECT count(*) FROM ((${byHand}) EXCEPT ALL (${planned}))), (SELECT count(*) FROM ((${planned}) EXCEPT ALL (${byHand})))`,
    );
    const [groups, flights, missing, surplus] = difference.getRows()[0].map(Number);
    assert.deepEqual([flights, missing, surplus], [3_000_000, 0, 0]);
    assert.ok(groups > 10_000);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});

Deno.test("the guide's schema, stream and check are true: types, plan and printed table", async () => {
  const guide = await Deno.readTextFile(`${ROOT}/docs/adding-a-stream.md`);
  const blocks = [...guide.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
  assert.deepEqual(blocks.map(({ language }) => language), ["json", "ts", "text", "text"]);
  const [schema, code, table, faults] = blocks.map((block) => block.code);
  await using folder = await project({ "schemas/order.avsc": schema, "streams/country_orders.ts": code });
  const types = schemaTypes(await readSchemas(`${folder.dir}/schemas`));
  await Deno.writeTextFile(`${folder.dir}/schemas/mod.ts`, types);
  assert.equal(formatCheck(await checkStreams(`${folder.dir}/streams`)) + "\n", table);

  assert.equal(await typeFaults(`${folder.dir}/streams/country_orders.ts`), "");
  await Deno.writeTextFile(`${folder.dir}/streams/sum.ts`, code.replace('sum("price")', 'sum("country")'));
  assert.match(await typeFaults(`${folder.dir}/streams/sum.ts`), /"country"/);
  await Deno.remove(`${folder.dir}/streams/sum.ts`);

  const misspelt = code.replace(/where: ".*"/, `where: "peices > 0"`);
  await Deno.writeTextFile(`${folder.dir}/streams/misspelt.ts`, misspelt);
  await Deno.remove(`${folder.dir}/streams/country_orders.ts`);
  assert.equal(formatCheck(await checkStreams(`${folder.dir}/streams`)) + "\n", faults);
});

/** What the TypeScript compiler says of a file; nothing when it is fine. */
async function typeFaults(file: string): Promise<string> {
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", file],
    env: { NO_COLOR: "1" },
    stderr: "piped",
  }).output();
  return new TextDecoder().decode(stderr);
}
