import assert from "node:assert/strict";
import { sleep, temporaryFolder } from "../e2e/harness.ts";
import { startAirflow, whyNoAirflow } from "../servers/airflow.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const TASKS = ["ingest", "aggregate", "compact", "audit", "stage"];

/** Prints the tasks of the DAG in their order, with what each waits for. */
const LIST = `
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("${ROOT}deploy/airflow/dags")
assert not bag.import_errors, bag.import_errors
dag = bag.dags["tailrace_batch"]
print("tasks: " + json.dumps([[t.task_id, sorted(t.upstream_task_ids)] for t in dag.topological_sort()]))
`;

const why = await whyNoAirflow();
if (why !== null) console.log(`Airflow's DAG is not run: ${why}`);

Deno.test("Airflow parses the DAG, runs it whole, and a second run goes on where the first stopped", {
  ignore: why !== null,
}, async () => {
  await using folder = temporaryFolder();
  const data = `${folder.path}/data`;
  const { airflow, python } = await startAirflow({
    home: `${folder.path}/airflow`,
    dags: `${ROOT}deploy/airflow/dags`,
    env: {
      TAILRACE_HOME: ROOT,
      TAILRACE_DENO: Deno.execPath(),
      TAILRACE_MODE: "dev",
      TAILRACE_DATA: data,
      ...Object.fromEntries(["BROKER", "REGISTRY", "POSTGRES"].map((part) => [`TAILRACE_${part}_PORT`, "0"])),
    },
  });
  const listed = (await python(LIST)).split("\n").find((line) => line.startsWith("tasks: "))!;
  assert.deepEqual(
    JSON.parse(listed.slice("tasks: ".length)),
    TASKS.map((task, i) => [task, i === 0 ? [] : [TASKS[i - 1]]]),
  );
  await airflow(["dags", "test", "tailrace_batch"]);
  const first = await delivered(data);
  assert.equal(first.length, 100, "each product of the shop is in the files once");
  await sleep(1_000);
  await airflow(["dags", "test", "tailrace_batch"]);
  assert.deepEqual(await delivered(data), first, "nothing had changed in between");
  const tables = await Array.fromAsync(Deno.readDir(`${data}/lake`), ({ name }) => name);
  assert.deepEqual(tables.filter((name) => !name.startsWith(".")).sort(), ["category_prices", "products"]);
});

/** The ids of all products in the files that manifests name. */
async function delivered(data: string): Promise<number[]> {
  const ids: number[] = [];
  for await (const path of walk(`${data}/files/products`)) {
    if (!path.endsWith(".ndjson.gz")) continue;
    const file = await Deno.open(path);
    const text = await new Response(file.readable.pipeThrough(new DecompressionStream("gzip"))).text();
    ids.push(...text.trim().split("\n").map((line) => JSON.parse(line).id));
  }
  return ids.sort((a, b) => a - b);
}

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* walk(`${folder}/${name}`);
    else yield `${folder}/${name}`;
  }
}
