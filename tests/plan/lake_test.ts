import assert from "node:assert/strict";
import type { Definition } from "../../pipeline/definition.ts";
import { ConfigError, type Fault } from "../../pipeline/errors.ts";
import { count, lake, type LakeOptions, pipeline, postgres, topic, tumbling } from "../../pipeline/mod.ts";
import { checkStreams, formatCheck } from "../../pipeline/plan/check.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { inspect } from "../../pipeline/plan/load.ts";
import { targetOf } from "../../pipeline/plan/plan.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const MOD = `${ROOT}/pipeline/mod.ts`;
const NOTE = {
  type: "record",
  name: "Note",
  fields: [{ name: "at", type: "long" }, { name: "by", type: "string" }],
} as const;

function definition({ to = [postgres("notes")], archive, from = "notes.v1" }: {
  readonly to?: unknown;
  readonly archive?: unknown;
  readonly from?: string;
}): Definition {
  return pipeline({
    name: "by_hour",
    from: topic(from, { schema: NOTE, eventTime: "at", archive: archive as ReturnType<typeof lake> }),
    groupBy: ["by"],
    window: tumbling("1 hour"),
    select: { n: count() },
    to: to as Definition["to"],
  });
}

async function faultsOf(parts: Parameters<typeof definition>[0]): Promise<readonly Fault[]> {
  try {
    await planOf(definition(parts), new Map());
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.faults;
  }
  assert.fail(`no fault in ${JSON.stringify(parts)}`);
}

Deno.test("results and raw records have tables in the plan, with limits in milliseconds and rows", async () => {
  const limits: LakeOptions = { flushEvery: "10s", flushRows: 500 };
  const { sinks, archive } = await planOf(
    definition({ to: [lake("hourly", limits), postgres("hourly")], archive: lake("raw_notes") }),
    new Map(),
  );
  assert.deepEqual(sinks[0], { kind: "lake", table: "hourly", flush: { everyMs: 10_000, rows: 500 } });
  assert.equal(targetOf(sinks[0]), "hourly");
  assert.deepEqual(archive, { table: "raw_notes", flush: { everyMs: 60_000, rows: 1_000_000 } });
});

Deno.test("an archive is named after its topic, in letters that need no quotes", async () => {
  const tableOf = async (from: string) =>
    (await planOf(definition({ from, archive: lake() }), new Map())).archive?.table;
  assert.equal(await tableOf("Notes.v1-EU"), "notes_v1_eu");
  assert.equal((await planOf(definition({}), new Map())).archive, undefined);
  const [fault] = await faultsOf({ from: "2026.notes", archive: lake() });
  assert.deepEqual(fault, {
    where: "by_hour.from.archive",
    problem: `"2026_notes" is not a name for a table of the lake: 1 to 63 of a-z, 0-9 and _, a letter first`,
  });
});

Deno.test("whether there is an archive, and where results go, does not change the fingerprint", async () => {
  const fingerprint = async (parts: Parameters<typeof definition>[0]) =>
    (await planOf(definition(parts), new Map())).fingerprint;
  assert.equal(await fingerprint({ archive: lake() }), await fingerprint({ to: [lake("hourly")] }));
});

Deno.test("each fault of a table in the lake says what to write instead", async () => {
  const cases: readonly (readonly [Parameters<typeof definition>[0], where: string, problem: RegExp])[] = [
    [{ to: [lake()] }, "to", /name the table: lake\("by_hour"\)/],
    [{ to: [lake("Hourly")] }, "to", /"Hourly" is not a name for a table of the lake/],
    [{ to: [lake("_hourly")] }, "to", /a letter first/],
    [{ to: [lake("a.b")] }, "to", /not a name/],
    [{ to: [{ kind: "lake", table: 5 }] }, "to", /5 is not a name/],
    [{ to: [lake("a"), lake("a", { flushRows: 5 })] }, "to", /lake\("a"\) is there twice/],
    [{ to: [lake("a", { flushRows: 0 })] }, "to.flushRows", /0 is not a whole number from 1 to 10000000/],
    [{ to: [lake("a", { flushRows: 1.5 })] }, "to.flushRows", /not a whole number/],
    [{ to: [lake("a", { flushEvery: "50ms" })] }, "to.flushEvery", /too short: 100 ms/],
    [{ to: [lake("a", { flushEvery: "soon" as "1s" })] }, "to.flushEvery", /not a duration/],
    [{ archive: true }, "from.archive", /use lake\(\) or lake\("table"\)/],
    [{ archive: null }, "from.archive", /use lake\(\)/],
    [{ archive: lake("a", { flushRows: -1 }) }, "from.archive.flushRows", /whole number/],
    [
      { archive: lake("hourly"), to: [lake("hourly")] },
      "from.archive",
      /is the table of the results, too: name another/,
    ],
  ];
  for (const [parts, where, problem] of cases) {
    const faults = await faultsOf(parts);
    const found = faults.find((fault) => fault.where === `by_hour.${where}` && problem.test(fault.problem));
    assert.ok(found, `${where} ${problem}: ${JSON.stringify(faults)}`);
  }
});

Deno.test("a table written without options by plain JavaScript has the limits of every other", async () => {
  const bare = { kind: "lake", table: "hourly" };
  const { sinks, archive } = await planOf(definition({ to: [bare], archive: { ...bare, table: "raw" } }), new Map());
  const flush = { everyMs: 60_000, rows: 1_000_000 };
  assert.deepEqual([sinks[0], archive], [{ ...bare, flush }, { table: "raw", flush }]);
});

/** The faults of a folder of streams, each given its topic, its `to` and what else its topic has. */
async function folderFaults(streams: Record<string, readonly [topic: string, to: string, options?: string]>) {
  const dir = await Deno.makeTempDir({ prefix: "tailrace_lake_streams_" });
  try {
    await Deno.mkdir(`${dir}/streams`);
    await Deno.mkdir(`${dir}/schemas`);
    await Deno.writeTextFile(`${dir}/schemas/note.avsc`, JSON.stringify(NOTE));
    for (const [name, [topic, to, options = ""]] of Object.entries(streams)) {
      await Deno.writeTextFile(
        `${dir}/streams/${name}.ts`,
        `import { count, lake, pipeline, postgres, topic, tumbling } from ${JSON.stringify(MOD)};
         export default pipeline({ name: "${name}", from: topic("${topic}", { schema: "note", eventTime: "at", ${options} }),
           groupBy: ["by"], window: tumbling("1 hour"), select: { n: count() }, to: [${to}] });`,
      );
    }
    const { faults } = await inspect(`${dir}/streams`);
    const shown = formatCheck(await checkStreams(`${dir}/streams`));
    return { faults: faults.map(({ where, problem }) => `${where}: ${problem}`), shown };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("pipelines may share a topic's archive, named by one of them or the same by several", async () => {
  const { faults, shown } = await folderFaults({
    a: ["notes", `lake("a")`, "archive: lake()"],
    b: ["notes", `lake("b"), postgres("b")`],
    c: ["notes", `postgres("c")`, `archive: lake("notes", { flushEvery: "60s" })`],
    d: ["other", `postgres("d")`, "archive: lake()"],
  });
  assert.deepEqual(faults, []);
  assert.match(shown, /^b .* lake table b, table b$/m);
});

Deno.test("tables of the lake that pipelines of a folder dispute are faults, all told at once", async () => {
  const { faults } = await folderFaults({
    a: ["notes", `lake("same")`, `archive: lake("raw")`],
    b: ["notes", `lake("same")`, `archive: lake("raw_too")`],
    c: ["notes", `postgres("c")`, `archive: lake("raw", { flushRows: 7 })`],
    d: ["letters", `postgres("d")`, `archive: lake("raw")`],
    e: ["cards", `postgres("e")`, `archive: lake("same")`],
    f: ["stamps", `lake("stamps_raw")`],
    g: ["stamps", `postgres("g")`, `archive: lake("stamps_raw")`],
    h: ["notes", `lake("raw")`],
  });
  assert.deepEqual(faults.sort(), [
    `a.from.archive: lake("raw") is the table of the results of h.ts: name another`,
    `b.from.archive: notes is archived in lake("raw") by a.ts: name the same table, or leave it out here`,
    `b: lake("same") in b.ts is taken by a.ts`,
    `c.from.archive: notes is archived with other limits (flushEvery, flushRows) by a.ts: use the same, or leave it out here`,
    `d.from.archive: lake("raw") is the archive of the topic notes: name another`,
    `d.from.archive: lake("raw") is the table of the results of h.ts: name another`,
    `e.from.archive: lake("same") is the table of the results of a.ts: name another`,
    `g.from.archive: lake("stamps_raw") is the table of the results of f.ts: name another`,
  ]);
});
