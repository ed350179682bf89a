import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../pipeline/clock.ts";
import { readSchemas } from "../../../pipeline/plan/schemas.ts";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { migrate } from "../../../pipeline/sinks/migrate.ts";
import { postgresRowsKind } from "../../../pipeline/sources/postgres_rows/kind.ts";
import type { PostgresRowsSpec } from "../../../pipeline/sources/postgres_rows/definition.ts";
import { changePrices } from "../../../pipeline/sources/products.ts";
import products from "../../../streams/products.ts";
import { startPostgres } from "../../sinks/postgres_server.ts";
import { readAll } from "../read_source.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

Deno.test("the shop has a hundred products, and each change of a price is read once", async () => {
  await using server = await startPostgres();
  const sql = postgresClient(server.url, { max: 2 });
  try {
    await migrate(sql, `${ROOT}/migrations`);
    const schema = (await readSchemas(`${ROOT}/schemas`)).get("product")!;
    const spec = products.from as PostgresRowsSpec;
    const options = { schema, key: products.key, databaseUrl: server.url };
    const first = await readAll(postgresRowsKind, spec, options);
    assert.equal(first.values.length, 100);
    assert.deepEqual(first.rejected, []);
    assert.deepEqual(new Set(first.values.map(({ category }) => category)).size, 5);
    const { id, name, price } = first.values[0];
    assert.deepEqual({ id, name, price }, { id: 1, name: "small kettle", price: "23.92" });

    const ending = new AbortController();
    const shop = changePrices(sql, { rate: 100, clock: systemClock, signal: ending.signal });
    const count = async () =>
      (await sql`SELECT count(*)::int AS n FROM shop.products WHERE last_updated > now() - interval '1 minute'
      AND xmin::text::int8 > (SELECT min(xmin::text::int8) FROM shop.products)`)[0].n;
    while (await count() < 5) await systemClock.sleep(10);
    ending.abort();
    await shop;
    const changed = await readAll(postgresRowsKind, spec, { ...options, position: first.position });
    const now = await sql`SELECT id, price::text AS price FROM shop.products ORDER BY id`;
    const read = new Map([...first.values, ...changed.values].map(({ id, price }) => [id, price]));
    assert.deepEqual(now.map(({ id, price }) => [id, price]), [...read].sort(([a], [b]) => Number(a) - Number(b)));
    assert.ok(changed.values.length >= 5);
    assert.equal(new Set(changed.values.map(({ id }) => id)).size, changed.values.length);
  } finally {
    await sql.end();
  }
});
