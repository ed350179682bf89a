import assert from "node:assert/strict";
import fc from "fast-check";
import { ConfigError, ConflictError } from "../../../../pipeline/errors.ts";
import { evolve } from "../../../../pipeline/sinks/lake/delta/evolve.ts";
import {
  deltaField as field,
  deltaSchema,
  deltaTypeOf,
  duckdbType,
} from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaSchema, DeltaType } from "../../../../pipeline/sinks/lake/delta/table.ts";
import { fitTable, widenTable } from "../../../../pipeline/sinks/lake/delta/widen_table.ts";
import { ask, temporaryLake, write } from "./lake_fixture.ts";

function both(have: DeltaType, want: DeltaType): unknown {
  const evolution = evolve(deltaSchema([field("x", have)]), deltaSchema([field("x", want)]));
  return evolution.kind === "impossible" ? null : [evolution.kind, evolution.schema.fields[0].type];
}

Deno.test("every type of a field has one in a table, and in DuckDB", () => {
  const names = [
    ["int", "long"],
    ["float", "double"],
    ["time-millis", "long"],
    ["time-micros", "long"],
    ["timestamp-millis", "timestamp"],
    ["uuid", "string"],
    ["bytes", "binary"],
    ["boolean", "boolean"],
  ] as const;
  for (const [type, delta] of names) assert.equal(deltaTypeOf({ type, nullable: true }), delta);
  assert.equal(deltaTypeOf({ type: "decimal", precision: 9, scale: 2, nullable: true }), "decimal(9,2)");
  assert.equal(deltaTypeOf({ type: "enum", symbols: ["a"], nullable: true }), "string");
  const nested: DeltaType = {
    type: "map",
    keyType: "string",
    valueType: { type: "array", elementType: deltaSchema([field('a"b', "timestamp")]), containsNull: true },
    valueContainsNull: true,
  };
  assert.equal(duckdbType(nested), 'MAP(VARCHAR, STRUCT("a""b" TIMESTAMP WITH TIME ZONE)[])');
});

Deno.test("types become as wide as both need, and no wider", () => {
  assert.deepEqual(both("long", "long"), ["same", "long"]);
  assert.deepEqual(both("integer", "long"), ["widened", "long"]);
  assert.deepEqual(both("long", "integer"), ["same", "long"]);
  assert.deepEqual(both("long", "double"), ["widened", "double"]);
  assert.deepEqual(both("double", "long"), ["same", "double"]);
  assert.deepEqual(both("float", "double"), ["widened", "double"]);
  assert.deepEqual(both("decimal(18,2)", "decimal(20,4)"), ["widened", "decimal(20,4)"]);
  assert.deepEqual(both("decimal(18,2)", "decimal(10,6)"), ["widened", "decimal(22,6)"]);
  assert.deepEqual(both("decimal(22,6)", "decimal(18,2)"), ["same", "decimal(22,6)"]);
  assert.deepEqual(both("decimal(9,2)", "integer"), ["widened", "decimal(12,2)"]);
  assert.deepEqual(both("long", "decimal(5,2)"), ["widened", "decimal(21,2)"]);
  for (
    const [have, want] of [
      ["string", "long"],
      ["long", "string"],
      ["binary", "string"],
      ["date", "timestamp"],
      ["timestamp", "long"],
      ["decimal(5,2)", "double"],
      ["decimal(38,0)", "decimal(38,10)"],
      ["boolean", "long"],
    ] as const
  ) assert.equal(both(have, want), null, `${have} and ${want}`);
});

Deno.test("columns are added at the end, nullable, and none is dropped; case does not make a new one", () => {
  const have = deltaSchema([field("a", "long"), { ...field("b", "string"), nullable: false }]);
  const want = deltaSchema([{ ...field("c", "date"), nullable: false }, field("A", "long")]);
  const evolution = evolve(have, want);
  assert.deepEqual(evolution, {
    kind: "added",
    schema: deltaSchema([field("a", "long"), field("b", "string"), field("c", "date")]),
  });
});

Deno.test("structs grow inside too, in arrays and maps, and a fault names its place", () => {
  const list = (type: DeltaType): DeltaType => ({ type: "array", elementType: type, containsNull: true });
  const struct = (...names: string[]) => deltaSchema(names.map((name) => field(name, "long")));
  assert.deepEqual(both(list(struct("a")), list(struct("b"))), ["added", list(struct("a", "b"))]);
  assert.deepEqual(both(struct("a"), deltaSchema([field("a", "double")])), [
    "widened",
    deltaSchema([field("a", "double")]),
  ]);
  const evolution = evolve(
    deltaSchema([field("s", list(struct("a")))]),
    deltaSchema([field("s", list(deltaSchema([field("a", "string")])))]),
  );
  assert.deepEqual(evolution, { kind: "impossible", problem: "s[].a is long, and string does not fit beside it" });
  assert.equal(both(struct("a"), "long"), null);
});

const simple = fc.oneof(
  fc.constantFrom<DeltaType>("string", "long", "integer", "short", "byte", "float", "double", "boolean", "date"),
  fc.tuple(fc.integer({ min: 1, max: 38 }), fc.nat(38)).map(([precision, scale]): DeltaType =>
    `decimal(${Math.max(precision, Math.min(scale, precision))},${Math.min(scale, precision)})`
  ),
);
const schemas: fc.Arbitrary<DeltaSchema> = fc.uniqueArray(fc.tuple(fc.constantFrom(..."abcdef"), simple), {
  selector: ([name]) => name,
  minLength: 1,
}).map((fields) => deltaSchema(fields.map(([name, type]) => field(name, type))));

Deno.test("what evolved once stays: asking for either schema again changes nothing", () => {
  fc.assert(fc.property(schemas, schemas, (have, want) => {
    const evolution = evolve(have, want);
    if (evolution.kind === "impossible") return;
    for (const again of [have, want, evolution.schema]) {
      assert.deepEqual(evolve(evolution.schema, again), { kind: "same", schema: evolution.schema });
    }
  }));
});

Deno.test("columns are added to a table without a touch to its files", async () => {
  await using made = await temporaryLake();
  const have = deltaSchema([field("id", "long")]);
  const table = await made.lake.ensureTable("t", { schema: have, partitionColumns: [] });
  const add = await write(made.lake, "SELECT 1 AS id", { schema: have, partitionColumns: [] });
  const { snapshot } = await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
  const fitted = await made.lake.database.use(async (connection) => {
    const options = { store: made.lake.store, connection };
    const fitted = await fitTable(table, deltaSchema([field("note", "string"), field("id", "integer")]), options);
    assert.equal(await fitTable(table, have, options), fitted);
    return fitted;
  });
  assert.deepEqual(fitted.files.map(({ path }) => path), snapshot.files.map(({ path }) => path));
  assert.deepEqual(await ask(made.lake, fitted, "FROM t"), [["1", null]]);
  assert.equal((await table.history())[0].operation, "ADD COLUMNS");
});

Deno.test("wider types are written anew with the schema that has them; every row is there once", async () => {
  await using made = await temporaryLake();
  const have = deltaSchema([field("id", "integer"), field("amount", "decimal(9,2)"), field("day", "date")]);
  const partitionColumns = ["day"];
  const table = await made.lake.ensureTable("t", { schema: have, partitionColumns });
  for (let commit = 0; commit < 3; commit++) {
    const query = `SELECT i AS id, i + 0.25 AS amount, DATE '2026-01-01' + (i % 2)::INT AS "day"
      FROM range(${commit * 10}, ${commit * 10 + 10}) r(i)`;
    const add = await write(made.lake, query, { schema: have, partitionColumns });
    await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
  }
  const before = await table.snapshot();
  const want = deltaSchema([field("id", "double"), field("amount", "decimal(20,4)")]);
  const fitted = await made.lake.database.use((connection) =>
    fitTable(table, want, { store: made.lake.store, connection })
  );
  assert.deepEqual(fitted.schema.fields.map(({ type }) => type), ["double", "decimal(20,4)", "date"]);
  assert.equal(fitted.files.length, 2);
  const sums = `SELECT count(*)::INT, sum(id), sum(amount)::VARCHAR, min("day")::VARCHAR, max("day")::VARCHAR FROM t`;
  assert.deepEqual(await ask(made.lake, fitted, sums), [[30, 435, "442.5000", "2026-01-01", "2026-01-02"]]);
  const [{ operation, filesAdded, filesRemoved }] = await table.history();
  assert.deepEqual([operation, filesAdded, filesRemoved], ["CHANGE COLUMN", 2, before.files.length]);
  assert.deepEqual(await ask(made.lake, (await table.at({ version: 3 }))!, "SELECT sum(id)::INT FROM t"), [[435]]);
});

Deno.test("what cannot be one type is refused, and a widening gives way to a commit meanwhile", async () => {
  await using made = await temporaryLake();
  const have = deltaSchema([field("id", "integer")]);
  const table = await made.lake.ensureTable("t", { schema: have, partitionColumns: [] });
  const base = await table.snapshot();
  await made.lake.database.use(async (connection) => {
    const options = { store: made.lake.store, connection };
    await assert.rejects(
      fitTable(table, deltaSchema([field("id", "string")]), options),
      (error) => error instanceof ConfigError && /lake\.t: id is integer, and string does not fit/.test(error.message),
    );
    const add = await write(made.lake, "SELECT 1 AS id", { schema: have, partitionColumns: [] });
    await table.commit({ operation: "WRITE", add }, { base });
    await assert.rejects(
      widenTable(table, deltaSchema([field("id", "long")]), { ...options, base }),
      ConflictError,
    );
  });
  assert.deepEqual((await table.snapshot()).schema, have);
});
