import assert from "node:assert/strict";
import { temporaryFolder } from "../e2e/harness.ts";
import { makeTable } from "./make_table.ts";
import { orphans, plainRows } from "./plain_table.ts";
import { differences } from "./rows.ts";

const ADD = "part-1.parquet";
const SQL = "SELECT 1::BIGINT AS id, 'a' AS name UNION ALL SELECT 2, NULL";

async function tableWith(actions: readonly unknown[], later: readonly unknown[] = []): Promise<string[]> {
  await using folder = temporaryFolder();
  const table = `${folder.path}/t`;
  await makeTable(table, [{ sql: SQL, path: ADD }], { actions });
  if (later.length > 0) {
    const text = later.map((line) => `${JSON.stringify(line)}\n`).join("");
    await Deno.writeTextFile(`${table}/_delta_log/${"1".padStart(20, "0")}.json`, text);
  }
  await Deno.copyFile(`${table}/${ADD}`, `${table}/part-2.parquet`);
  assert.deepEqual((await orphans(table)).includes("part-2.parquet"), true);
  return (await plainRows(table)).map((row) => JSON.stringify(row));
}

Deno.test("the plain reader counts files that the log names, and no others", async () => {
  assert.deepEqual(await tableWith([]), ['{"id":"1","name":"a"}', '{"id":"2","name":null}']);
  assert.deepEqual(await tableWith([], [{ remove: { path: ADD, dataChange: true } }]), []);
});

Deno.test("the plain reader refuses a log that is not as it must be", async () => {
  const add = { path: "part-3.parquet", partitionValues: {}, size: 1, modificationTime: 0, dataChange: true };
  await assert.rejects(tableWith([{ add }]), /part-3/);
  await assert.rejects(tableWith([], [{ remove: { path: "other.parquet", dataChange: true } }]), /is not there/);
  await assert.rejects(tableWith([{ protocol: { minReaderVersion: 3, minWriterVersion: 7 } }]), /protocol 3, 7/);
  await assert.rejects(tableWith([{ domainMetadata: {} }]), /action domainMetadata/);
});

Deno.test("rows that differ, are missing or are there too often are told", () => {
  const rows = [{ id: "1" }, { id: "2" }];
  assert.deepEqual(differences(rows, [{ id: 2 }, { id: 1 }]), []);
  assert.deepEqual(differences(rows, [{ id: "1" }]), ["1 rows instead of 2, 1 differ", 'missing 1 times: {"id":"2"}']);
  assert.match(differences(rows, [...rows, { id: "2" }])[1], /there 1 times too often/);
});
