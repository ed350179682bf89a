import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { killWhenever, memoryBytes } from "../e2e/faults.ts";
import { FREE_PORTS, sleep, Tailrace, temporaryFolder } from "../e2e/harness.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { layOut, PROJECT } from "../faults/project.ts";

const MIB = 2 ** 20;
const STREAM = "account_minute.ts";
/** How long it is looked at before. */
const SETTLED_MS = 3_000;
const AWAY_MS = 12_000;
/** Records of 76 bytes: more than twice of what memory may grow by, if they were kept. */
const CAME_MEANWHILE = 6_000_000;
/** A million records are read within seconds; a machine that is busy with other tests takes its time. */
const FILLED_WITHIN_MS = 180_000;
/** The embedded server starts again after ten seconds at most, and then a sink tries again after fifteen at most. */
const BACK_WITHIN_MS = 120_000;

/** Kills PostgreSQL for as long as `meanwhile` takes, and returns how much memory there was before, and at most. */
async function withoutPostgres(
  tailrace: Tailrace,
  data: string,
  meanwhile: () => Promise<void>,
): Promise<{ readonly before: number; readonly most: number }> {
  const { pid } = tailrace.child;
  const status = () => tailrace.status("account_minute");
  const killing = new AbortController();
  const killed = killWhenever(`${data}/postgres/cluster`, killing.signal);
  let looking: ReturnType<typeof setInterval> | undefined;
  try {
    await tailrace.until("it waits", async () => (await status()).state === "waiting", BACK_WITHIN_MS);
    const { buckets: { consumed } } = await status();
    let most = 0;
    looking = setInterval(() => most = Math.max(most, memoryBytes(pid)), 100);
    // What it takes between two collections is no growth.
    await sleep(SETTLED_MS);
    const before = most;
    await meanwhile();
    killing.abort();
    assert.ok(await killed > 0);
    await tailrace.until("it has read more than came while PostgreSQL was away", async () => {
      const now = await status();
      return now.state === "running" && now.buckets.consumed > consumed + 1_000_000;
    }, BACK_WITHIN_MS);
    return { before, most };
  } finally {
    clearInterval(looking);
    killing.abort();
  }
}

const told = ({ before, most }: { readonly before: number; readonly most: number }) =>
  `${Math.round(before / MIB)} MiB held, at most ${Math.round(most / MIB)} MiB`;

/** Without an archive, which holds rows in memory by the million and in turn: what is left has no reason to grow. */
Deno.test("at full speed, memory stays flat while PostgreSQL is away, and all that was waiting is read afterwards", async () => {
  await using folder = temporaryFolder();
  const data = `${folder.path}/data`;
  const definition = (await Deno.readTextFile(`${PROJECT}streams/${STREAM}`))
    .replace(/^ +archive: lake\(\),\n/m, "")
    .replace(', lake("account_minute")', "");
  assert.doesNotMatch(definition, /lake\(/);
  const streams = `${folder.path}/streams/`;
  await Deno.mkdir(streams);
  await Deno.writeTextFile(streams + STREAM, definition);
  const main = await layOut(`${folder.path}/project`, { streams: pathToFileURL(streams) });
  await using tailrace = await Tailrace.start(["dev", "--data", data, ...FREE_PORTS, "--rate", "max"], {
    command: (args) => [Deno.execPath(), "run", "-q", "-A", main, ...args],
  });
  await tailrace.until(
    "millions are read",
    async () => (await tailrace.status("account_minute")).buckets.consumed > 3_000_000,
    FILLED_WITHIN_MS,
  );
  await using cluster = new Cluster([tailrace.brokers], { clientId: "test", ssl: false, sasl: null });
  const written = async () => {
    const ends = await cluster.offsets("transactions", [0, 1, 2, 3], "latest");
    return [...ends.values()].reduce((sum, end) => sum + end, 0);
  };
  const memory = await withoutPostgres(tailrace, data, async () => {
    const before = await written();
    await sleep(AWAY_MS);
    const isMuch = async () => await written() - before > CAME_MEANWHILE;
    await tailrace.until("so many came that they would be seen in memory", isMuch, FILLED_WITHIN_MS);
  });
  assert.ok(memory.most < 1024 * MIB && memory.most - memory.before < 200 * MIB, told(memory));
});

/**
 * The whole process as it comes: broker, generator, two million rows that the archive holds, and the DuckDBs that pack its files
 * and audit the results, with half a GiB each. Its memory goes up and down with the archive's commits, by hundreds of MiB.
 */
Deno.test("at full speed, the archive goes on while PostgreSQL is away, and the whole process stays within its bounds", async () => {
  await using folder = temporaryFolder();
  const data = `${folder.path}/data`;
  await using tailrace = await Tailrace.start(["dev", "--data", data, ...FREE_PORTS, "--rate", "max"]);
  const archived = async (rows: number) => {
    const isThere = async () => await archivedRows(tailrace) > rows;
    await tailrace.until(`${rows} rows are archived`, isThere, FILLED_WITHIN_MS);
  };
  // By then it has held as many rows as it ever does.
  await archived(3_000_000);
  const memory = await withoutPostgres(tailrace, data, async () => {
    await archived(await archivedRows(tailrace) + 2_000_000);
  });
  assert.ok(memory.most < 2560 * MIB, told(memory));
});

async function archivedRows(tailrace: Tailrace): Promise<number> {
  const response = await fetch(`${tailrace.url}/v1/lake`);
  const { tables } = await response.json() as { tables: { name: string; rows: number | null }[] };
  return tables.find(({ name }) => name === "transactions")?.rows ?? 0;
}
