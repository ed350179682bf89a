import assert from "node:assert/strict";
import type postgres from "postgres";
import { parse as parseYaml } from "yaml";
import { loadStreams } from "../../pipeline/plan/load.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { COMMANDS_SHOWN } from "./commands_shown.ts";
import { startPostgres } from "../sinks/postgres_server.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const text = await Deno.readTextFile(`${ROOT}docs/bi.md`);
const blocks = (language: string) =>
  Array.from(text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms")), ([, code]) => code);

/** What Grafana makes of its macro. */
const withoutMacros = (sql: string) =>
  sql.replaceAll(/\$__timeFilter\((\w+)\)/g, "$1 BETWEEN now() - interval '1 day' AND now() + interval '1 day'");

const signal = new AbortController().signal;

Deno.test("the SQL of the guide to BI tools runs over the view, as a reader that sees nothing else", async () => {
  const [{ plan }] = await loadStreams(`${ROOT}streams`, { only: ["account_minute"] });
  const columns = resultColumns(plan);
  await using server = await startPostgres();
  const start = Math.floor(Date.now() / 60_000) * 60_000;
  {
    await using sink = await createPostgresSink({
      url: server.url,
      table: "account_minute",
      columns,
      pipeline: plan.name,
    });
    await sink.resume(null, { signal });
    const rows = [["a", start, start + 60_000, 2, "30.00", 15, "20.00", 2, true], [
      "b",
      start,
      start + 60_000,
      1,
      "5.00",
      5,
      "5.00",
      1,
      false,
    ]];
    await sink.write({ columns, length: 2, values: columns.map((_, c) => rows.map((row) => row[c])) }, {
      epoch: 1,
      signal,
    });
  }
  const statements = blocks("sql");
  const panels = JSON.parse(blocks("json")[0]).panels as { readonly targets: readonly { readonly rawSql: string }[] }[];
  const owner = postgresClient(server.url);
  const url = new URL(server.url);
  url.username = "bi_reader";
  let reader: postgres.Sql | null = null;
  try {
    const [roles, ...questions] = statements;
    await owner.unsafe(roles);
    reader = postgresClient(url.href);
    assert.ok(questions.length >= 5 && panels.length === 2);
    for (const sql of [...questions, ...panels.map(({ targets: [{ rawSql }] }) => rawSql)]) {
      const rows = await reader.unsafe(withoutMacros(sql));
      assert.ok(rows.length > 0, sql);
    }
    await assert.rejects(reader`SELECT * FROM public.account_minute`, /permission denied/);
    const [{ about }] = await reader.unsafe(questions[0]);
    assert.match(about, /Results of the pipeline account_minute/);
  } finally {
    await reader?.end();
    await owner.end();
  }
});

Deno.test("the guide's dashboard asks the data source that the guide makes", () => {
  const [source] = parseYaml(blocks("yaml")[0]).datasources;
  assert.equal(source.type, "grafana-postgresql-datasource");
  for (const { datasource } of JSON.parse(blocks("json")[0]).panels) {
    assert.deepEqual(datasource, { type: source.type, uid: source.uid });
  }
});

Deno.test("commands in the guides to BI tools, backfills and previews take the options that they are shown with", async () => {
  for (const file of ["bi.md", "backfill-and-preview.md"]) {
    const guide = await Deno.readTextFile(`${ROOT}docs/${file}`);
    const lines = guide.split("\n").filter((line) => line.startsWith("deno task "));
    assert.ok(lines.length >= 3, file);
    for (const line of lines) {
      const [, , command, ...words] = line.replace(/#.*/, "").trim().split(/\s+/);
      const flags = words.filter((word) => word.startsWith("--")).map((word) => word.slice(2));
      const known = COMMANDS_SHOWN[command];
      assert.ok(known, `${file}: ${line}`);
      assert.deepEqual(flags.filter((flag) => !known.includes(flag)), [], `${file}: ${line}`);
    }
  }
});
