import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import {
  eventStream,
  files,
  httpPoll,
  kafkaTopics,
  madeUp,
  postgresChanges,
  postgresRows,
  secret,
  source,
  topic,
  topics,
  webSocket,
} from "../../pipeline/mod.ts";
import type { SourceOptions } from "../../pipeline/sources/definition.ts";
import { planSource } from "../../pipeline/sources/plan.ts";

const USER = {
  type: "record",
  name: "User",
  fields: [{ name: "id", type: "string" }, { name: "at", type: { type: "long", logicalType: "timestamp-millis" } }],
};
const URL_TEXT = "https://a.example/";
const good = {
  name: "users",
  from: httpPoll({ url: URL_TEXT, every: "1 minute" }),
  to: topic("users", { schema: USER, eventTime: "at" }),
};

async function faultsOf(options: Readonly<Record<string, unknown>>): Promise<readonly string[]> {
  try {
    await planSource(source({ ...good, ...options } as unknown as SourceOptions), new Map());
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.faults.map(({ where, problem }) => `${where}: ${problem}`);
  }
}

Deno.test("a misspelt option of a source is told, with the one that was meant", async () => {
  const wrong = (options: unknown) => options as Record<string, never>;
  const many = { to: topics("copy") };
  const cases: [Readonly<Record<string, unknown>>, string][] = [
    [{ limt: 5 }, "limt: is no option; did you mean limit?"],
    [
      { from: httpPoll({ url: URL_TEXT, every: "1 minute", ...wrong({ timout: "1s" }) }) },
      "from.timout: is no option; did you mean timeout?",
    ],
    [
      { from: eventStream({ url: URL_TEXT, ...wrong({ silense: "1m" }) }) },
      "from.silense: is no option; did you mean silence?",
    ],
    [
      { from: webSocket({ url: "wss://a.example/", ...wrong({ subscibe: [] }) }) },
      "from.subscibe: is no option; did you mean subscribe?",
    ],
    [{ from: files({ path: "in/*.csv", ...wrong({ wach: true }) }) }, "from.wach: is no option; did you mean watch?"],
    [
      { from: madeUp("user_event", { perSecond: 1, ...wrong({ perMinute: 1 }) }) },
      "from.perMinute: is no option; there are data, perSecond",
    ],
    [
      { from: postgresRows({ table: "a", cursor: ["at", "id"], ...wrong({ swep: "never" }) }) },
      "from.swep: is no option; did you mean sweep?",
    ],
    [
      { ...many, from: kafkaTopics({ topics: ["a"], ...wrong({ patern: "b" }) }) },
      "from.patern: is no option; did you mean pattern?",
    ],
    [
      { ...many, from: postgresChanges({ tables: ["a"], ...wrong({ snapshoot: false }) }) },
      "from.snapshoot: is no option; did you mean snapshot?",
    ],
  ];
  assert.deepEqual(await faultsOf({}), []);
  for (const [options, fault] of cases) assert.deepEqual(await faultsOf(options), [`users.${fault}`]);
});

Deno.test("the event time of a source is a field of its schema, and a time", async () => {
  const to = (eventTime: string) => ({ to: topic("users", { schema: USER, eventTime }) });
  assert.match((await faultsOf(to("att")))[0], /^users\.to\.eventTime: no field "att" .*did you mean at\?/);
  assert.match((await faultsOf(to("id")))[0], /^users\.to\.eventTime: id is a .*, not a timestamp, date or long/);
});

Deno.test("a secret's name that no variable can have is told with its place, and not shown", async () => {
  const from = httpPoll({ url: URL_TEXT, every: "1 minute", auth: { bearer: secret("Partner-Token") } });
  const into = { brokers: secret("9brokers") };
  const faults = await faultsOf({ from, into });
  assert.deepEqual(faults.map((fault) => fault.split(":")[0]), ["users.from.auth.bearer", "users.into.brokers"]);
  assert.match(faults[0], /is no name of a secret: a-z, 0-9 and _, a letter first/);
  assert.ok(!faults[0].includes("Partner-Token"));
});

Deno.test("what is wrong with where a source reads is told together with what is wrong with its topic", async () => {
  const from = httpPoll({ url: "ftp://a.example/", every: "1 minute" });
  const places = async (options: Readonly<Record<string, unknown>>) =>
    (await faultsOf({ from, ...options })).map((fault) => fault.split(":")[0]);
  assert.deepEqual(await places({ key: "nothing" }), ["users.key", "users.from.url"]);
  assert.deepEqual(await places({ to: topic("users", { schema: "nothing", eventTime: "at" }) }), [
    "users.to.schema",
    "users.from.url",
  ]);
});
