/** Commits a row at a time to a table that others commit to, and prints the versions it got: `folder`, `own number`, `commits`. */
import { createDiskStore } from "../../../../pipeline/sinks/lake/disk_store.ts";
import { openLake } from "../../../../pipeline/sinks/lake/open_lake.ts";
import { PARTITIONED, rowsSql, smallDatabase, write } from "./lake_fixture.ts";

const [folder, own, commits] = Deno.args;
const store = createDiskStore({ folder });
await using lake = openLake({ store, database: smallDatabase(`${folder}/../writer-${own}`) });
const table = await lake.ensureTable("t", PARTITIONED);
const versions: number[] = [];
for (let n = 0; n < Number(commits); n++) {
  const id = Number(own) * 1_000 + n;
  const add = await write(lake, rowsSql(id, id + 1));
  const base = await table.snapshot();
  const applications = [{ appId: `writer ${own}`, version: n, after: n === 0 ? null : n - 1 }];
  const { kind, snapshot } = await table.commit({ operation: "WRITE", add, applications }, { base });
  if (kind === "committed") versions.push(snapshot.version);
}
console.log(JSON.stringify(versions));
