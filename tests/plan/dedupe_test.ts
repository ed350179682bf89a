import assert from "node:assert/strict";
import type { Definition } from "../../pipeline/definition.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { count, pipeline, postgres, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";

const fields = [
  { name: "id", type: { type: "string", logicalType: "uuid" } },
  { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  { name: "price", type: "double" },
  { name: "raw", type: "bytes" },
  {
    name: "shop",
    type: ["null", { type: "record", name: "Shop", fields: [{ name: "till", type: "int" }] }],
    default: null,
  },
];
const base = pipeline({
  name: "sold",
  from: topic("sales", { schema: { type: "record", name: "Sale", fields }, eventTime: "at" }),
  groupBy: [],
  window: tumbling("1 minute"),
  select: { n: count() },
  to: [postgres("sold")],
});

const plan = (parts: Record<string, unknown>) => planOf({ ...base, ...parts } as Definition, new Map());

async function faultsOf(parts: Record<string, unknown>): Promise<string[]> {
  try {
    await plan(parts);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.faults.map(({ where, problem }) => `${where}: ${problem}`);
  }
  assert.fail(`no fault in ${JSON.stringify(parts)}`);
}

Deno.test("dedupe becomes a field that is read and a time; without it nothing is looked for", async () => {
  const { fields, dedupe } = await plan({ dedupe: { by: "shop.till", within: "10 minutes" } });
  assert.deepEqual(dedupe, { field: 1, withinMs: 600_000 });
  assert.deepEqual(fields[1], { path: "shop.till", type: { type: "int", nullable: true } });
  assert.equal((await plan({})).dedupe, null);
});

Deno.test("what is wrong with dedupe is told by its parts", async () => {
  assert.deepEqual(await faultsOf({ dedupe: { by: "idd", within: "soon" } }), [
    `sold.dedupe.within: "soon" is not a duration: write a whole number and a unit, such as "250ms", "5s", "1 minute", "1 day"`,
    'sold.dedupe.by: no field "idd" in record Sale; did you mean id?',
  ]);
  assert.deepEqual(await faultsOf({ dedupe: { by: "id", within: "0ms" } }), [
    'sold.dedupe.within: "0ms" is too short: 1 ms is the least',
  ]);
  assert.match((await faultsOf({ dedupe: { by: "raw", within: "1s" } })).join(), /sold\.dedupe\.by: raw is bytes/);
  assert.match(
    (await faultsOf({ dedupe: { by: "price", within: "1s" } })).join(),
    /sold\.dedupe\.by: price is a double/,
  );
});

Deno.test("the compiler refuses to find duplicates by what the schema does not have, or by what makes no key", () => {
  const from = topic("transactions", { schema: "transaction", eventTime: "event_time" });
  const rest = { ...base, from, groupBy: ["account_id"], select: { n: count() } } as const;
  pipeline({ ...rest, dedupe: { by: "transaction_id", within: "10 minutes" } });
  // @ts-expect-error transaction is not a field
  pipeline({ ...rest, dedupe: { by: "transaction", within: "10 minutes" } });
  // @ts-expect-error durations have a unit
  pipeline({ ...rest, dedupe: { by: "transaction_id", within: "10" } });
  // @ts-expect-error for ever is no bound
  pipeline({ ...rest, dedupe: { by: "transaction_id" } });
  // @ts-expect-error one record is no share
  pipeline({ ...rest, deadLetters: { stopAt: 10 } });
});

Deno.test("a topic of dead letters stops a pipeline at nine of ten records, or where the definition says, or never", async () => {
  assert.deepEqual((await plan({})).deadLetters, { dead: 9_000, of: 10_000 });
  assert.deepEqual((await plan({ deadLetters: { stopAt: { dead: 1, of: 1 } } })).deadLetters, { dead: 1, of: 1 });
  assert.equal((await plan({ deadLetters: { stopAt: "never" } })).deadLetters, null);
  for (
    const stopAt of [{ dead: 0, of: 10 }, { dead: 11, of: 10 }, { dead: 0.5, of: 1 }, { dead: 3 }, "sometimes", 10]
  ) {
    assert.deepEqual(await faultsOf({ deadLetters: { stopAt } }), [
      'sold.deadLetters.stopAt: write how many of the last how many records, such as { dead: 10, of: 100 }, or "never"',
    ], JSON.stringify(stopAt));
  }
});

Deno.test("state of another dedupe is not taken up; when to stop for dead letters changes no result and keeps it", async () => {
  const { fingerprint } = await plan({});
  const ten = await plan({ dedupe: { by: "id", within: "10 minutes" } });
  assert.notEqual(ten.fingerprint, fingerprint);
  assert.notEqual((await plan({ dedupe: { by: "id", within: "9 minutes" } })).fingerprint, ten.fingerprint);
  assert.equal((await plan({ dedupe: { by: "id", within: "600s" } })).fingerprint, ten.fingerprint);
  assert.equal((await plan({ deadLetters: { stopAt: "never" } })).fingerprint, fingerprint);
});
