import assert from "node:assert/strict";
import { readerFields } from "../../pipeline/audit/reader_fields.ts";
import { parseSchema } from "../../pipeline/codec/schema.ts";
import { pipeline, postgres, sum, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { ArchiveColumns } from "../../pipeline/sinks/lake/archive/archive_columns.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";

const schemaOf = (type: string) => ({
  type: "record",
  name: "R",
  fields: [{ name: "at", type: { type: "long", logicalType: "timestamp-millis" } }, { name: "n", type }],
});

async function planReading(type: string) {
  const schema = schemaOf(type);
  const definition = pipeline({
    name: "p",
    from: topic("t", { schema, eventTime: "at" }),
    groupBy: [],
    window: tumbling("1 minute"),
    select: { total: sum("n") },
    to: [postgres("p")],
  });
  return await planOf(definition, new Map());
}

Deno.test("a field that the archive keeps in a column for each of its types is read from those that the plan can read", async () => {
  const archive = new ArchiveColumns(null);
  for (const type of ["long", "double", "string"]) archive.admit(parseSchema(schemaOf(type)));
  assert.deepEqual(archive.columns.map(({ path }) => path[0]), ["at", "n", "n_double", "n_string"]);
  const scratch = await Deno.makeTempDir();
  await using database = new LakeDatabase({ scratch, memoryBytesMax: 64e6, threads: 1 });
  const read = async (type: string) => {
    const plan = await planReading(type);
    const { expressions, fault } = readerFields(plan, archive.schema());
    assert.equal(fault, null);
    const expression = expressions[plan.fields.findIndex(({ path }) => path === "n")];
    const rows = "VALUES (7::BIGINT, NULL, NULL), (NULL, 1.5::DOUBLE, NULL), (NULL, NULL, 'x')";
    return await database.use(async (connection) =>
      (await connection.runAndReadAll(`SELECT ${expression} FROM (${rows}) a(n, n_double, n_string)`)).getRowsJson()
    );
  };
  assert.deepEqual(await read("double"), [[7], [1.5], [null]]);
  assert.deepEqual(await read("long"), [["7"], [null], [null]]);
  await Deno.remove(scratch, { recursive: true });
});
