import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { registerPipeline } from "../../pipeline/sinks/pipeline_registry.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { withDatabase } from "./postgres_subject.ts";

const OWN = fileURLToPath(new URL("../../migrations", import.meta.url));

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

/** A folder with these files, gone when the test ends. */
async function folder(
  files: Record<string, string>,
): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await Deno.makeTempDir({ prefix: "tailrace-migrations-" });
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${path}/${name}`, text);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("the project's own migrations apply once, and a pipeline finds its place", async () => {
  await withDatabase(server.url, async (sql) => {
    const names = await migrate(sql, OWN);
    assert.equal(names[0], "0001_pipelines.sql");
    assert.deepEqual(await migrate(sql, OWN), []);

    const plan = {
      name: "account_minute",
      fingerprint: "f1",
      sinks: [{ kind: "kafka", topic: "t" }, { kind: "postgres", table: "account_minute" }],
    } as unknown as Plan;
    await registerPipeline(sql, plan);
    await registerPipeline(sql, { ...plan, fingerprint: "f2" });
    const rows =
      await sql`SELECT name, fingerprint, table_name, definition->>'name' AS defined FROM tailrace.pipelines`;
    assert.deepEqual([...rows], [
      { name: "account_minute", fingerprint: "f2", table_name: "account_minute", defined: "account_minute" },
    ]);
  });
});

Deno.test("processes that migrate at the same time take turns, and each file is applied once", async () => {
  await using files = await folder({
    "0001_one.sql": "CREATE TABLE one (id int); INSERT INTO one VALUES (1);",
    "0002_two.sql": "INSERT INTO one VALUES (2); SELECT pg_sleep(0.05);",
  });
  await withDatabase(server.url, async (sql, another) => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => another()));
    const done = await Promise.all([sql, ...clients].map((client) => migrate(client, files.path)));
    assert.deepEqual(done.flat().sort(), ["0001_one.sql", "0002_two.sql"]);
    assert.deepEqual([...await sql`SELECT id FROM one ORDER BY id`], [{ id: 1 }, { id: 2 }]);
  });
});

Deno.test("a file that fails leaves nothing behind, and names itself", async () => {
  await using files = await folder({
    "0001_good.sql": "CREATE TABLE good (id int);",
    "0002_bad.sql": "CREATE TABLE half (id int);\nINSERT INTO half VALUES ('no number');",
  });
  await withDatabase(server.url, async (sql) => {
    await assert.rejects(migrate(sql, files.path), { name: "ConfigError", message: /0002_bad\.sql: .*no number/ });
    const [{ good, half }] = await sql`SELECT to_regclass('good')::text AS good, to_regclass('half')::text AS half`;
    assert.equal(good, "good");
    assert.equal(half, null);
    await Deno.writeTextFile(`${files.path}/0002_bad.sql`, "CREATE TABLE half (id int);");
    assert.deepEqual(await migrate(sql, files.path), ["0002_bad.sql"], "a file that was never applied may be mended");
  });
});

Deno.test("an applied file that was edited is refused before anything else is applied", async () => {
  await using files = await folder({ "0001_one.sql": "CREATE TABLE one (id int);\n" });
  await withDatabase(server.url, async (sql) => {
    await migrate(sql, files.path);
    await Deno.writeTextFile(`${files.path}/0001_one.sql`, "CREATE TABLE one (id int);\r\n");
    assert.deepEqual(await migrate(sql, files.path), [], "other line ends are no edit");
    await Deno.writeTextFile(`${files.path}/0001_one.sql`, "CREATE TABLE one (id bigint);\n");
    await Deno.writeTextFile(`${files.path}/0002_two.sql`, "CREATE TABLE two (id int);");
    await assert.rejects(migrate(sql, files.path), { name: "ConfigError", message: /0001_one\.sql: was edited/ });
    assert.equal((await sql`SELECT to_regclass('two')::text AS two`)[0].two, null);
  });
});

Deno.test("an applied file that is gone is refused", async () => {
  await using files = await folder({ "0001_one.sql": "SELECT 1;", "0002_two.sql": "SELECT 1;" });
  await withDatabase(server.url, async (sql) => {
    await migrate(sql, files.path);
    await Deno.remove(`${files.path}/0002_two.sql`);
    await assert.rejects(migrate(sql, files.path), { name: "ConfigError", message: /0002_two\.sql: .*is not here/ });
  });
});

Deno.test("every misnamed file is named at once, before the database is asked", async () => {
  await using files = await folder({ "1_short.sql": "", "0001_one.sql": "", "0001_two.sql": "", "readme.md": "" });
  await withDatabase(server.url, async (sql) => {
    await assert.rejects(migrate(sql, files.path), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, /0001_two\.sql: has the number of 0001_one\.sql/);
      assert.match(error.message, /1_short\.sql: cannot be a migration's name/);
      assert.equal(error.message.split("\n").length, 2);
      return true;
    });
  });
});
