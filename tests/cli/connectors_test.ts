import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { NO_COUNTS } from "../../pipeline/runtime/connector_status.ts";
import { connectorStatus, fakeConnectors } from "../api/fake_connectors.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { Child, commandLine } from "../e2e/harness.ts";

const UNSET = "secret upstream_brokers: is not set: give it as TAILRACE_SECRET_UPSTREAM_BROKERS";

/** The API over a source that does as it is told and, beside it, a delivery that rests; and the commands that ask it. */
function served() {
  const told: string[] = [];
  const one = fakeConnectors();
  const delivery = connectorStatus({
    name: "users_out",
    kind: "delivery",
    state: "stopped",
    reason: UNSET,
    from: "topic user_profiles",
    to: ["cassandra shop.users", "JSON files in users"],
    counts: { ...NO_COUNTS, read: 1_234_567, written: 1_234_567 },
    lagRecords: 5,
    limitPerSecond: 20,
    lastError: null,
    details: { group: "tailrace.users_out", partitions: 0, lsn: null },
  });
  const { deps } = fakeDeps({
    connectors: {
      ...one,
      status: () => [...one.status(), delivery],
      limit: (name, perSecond) => {
        told.push(`limit ${name} ${perSecond}`);
        one.limit(name, perSecond);
      },
    },
  });
  const { control } = deps.engine!;
  const limit = (name: string, perSecond: number | null) => void told.push(`limit ${name} ${perSecond}`);
  const engine = { ...deps.engine!, control: { ...control, limit } };
  const app = createApp({ ...deps, engine });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const env = { TAILRACE_API: `http://127.0.0.1:${server.addr.port}`, NO_COLOR: "1" };
  return {
    told,
    async run(...args: string[]) {
      await using child = new Child(commandLine(args), { env });
      return await child.exited();
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const cells = (line: string) => line.trim().split(/ {2,}/);

Deno.test("sources and deliveries are listed, and below them what has to be set", async () => {
  await using api = served();
  const [list, json] = await Promise.all([api.run("connectors"), api.run("connectors", "--json")]);
  assert.equal(list.code, 0, list.stderr);
  const [head, first, second, , why] = list.stdout.split("\n");
  assert.deepEqual(cells(head).slice(0, 9), [
    "NAME",
    "KIND",
    "STATE",
    "IN",
    "OUT",
    "READ",
    "WRITTEN",
    "REJECTED",
    "SKIPPED",
  ]);
  assert.deepEqual(cells(first), [
    "user_profiles",
    "source",
    "running",
    "13/s",
    "12/s",
    "10",
    "7",
    "2",
    "1",
    "?",
    "GET https://api.example.com/users -> topic user_profiles",
  ]);
  assert.match(second, /at rest .* 1,234,567 .* 5 +20\/s +topic user_profiles -> cassandra shop\.users, JSON files/);
  assert.equal(why, `users_out rests: ${UNSET}`);
  assert.equal(JSON.parse(json.stdout).connectors.length, 2);
});

Deno.test("one is shown with where all it read went, and with what it rejected", async () => {
  await using api = served();
  const [one, other, rejected] = await Promise.all([
    api.run("connectors", "user_profiles"),
    api.run("connectors", "users_out"),
    api.run("connectors", "rejected", "user_profiles"),
  ]);
  assert.match(one.stdout, /^counts +10 read = 7 written \+ 2 rejected \+ 1 skipped$/m);
  assert.match(one.stdout, /^last error +2023-11-14T22:13:20\.000Z GET .* 503$/m);
  assert.match(one.stdout, /^since +2026-01-01$/m);
  assert.match(other.stdout, /^state +at rest: secret upstream_brokers/m);
  assert.match(other.stdout, /^group +tailrace\.users_out$/m);
  assert.doesNotMatch(other.stdout, /lsn|last error/);
  const [, first, second] = rejected.stdout.split("\n");
  assert.match(first, /^2023-11-14T22:13:21\S+ +GET \/users page 3 item 12 +email is missing +\{"id":12/);
  assert.match(second, /is no JSON +hex ff00$/);
});

Deno.test("one is stopped, started and slowed, and a pipeline slowed as well", async () => {
  await using api = served();
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await api.run(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  assert.match(await said("connectors", "stop", "user_profiles"), /^user_profiles rests/);
  assert.match(await said("connectors", "user_profiles"), /^state +at rest$/m);
  assert.match(await said("connectors", "start", "user_profiles"), /^user_profiles starts/);
  assert.match(await said("connectors", "limit", "user_profiles", "2500"), /goes at 2,500 records a second at most/);
  assert.match(await said("connectors", "limit", "user_profiles", "none"), /goes as fast as it can/);
  assert.match(await said("pipelines", "limit", "account_minute", "0.5"), /reads 0\.5 records a second at most/);
  assert.match(await said("pipelines", "limit", "account_minute", "none"), /reads as fast as it can/);
  assert.deepEqual(api.told, [
    "limit user_profiles 2500",
    "limit user_profiles null",
    "limit account_minute 0.5",
    "limit account_minute null",
  ]);
});

Deno.test("the ledger has them beside the pipelines, or one of them alone", async () => {
  await using api = served();
  const [all, one, pipeline] = await Promise.all([
    api.run("ledger"),
    api.run("ledger", "users_out"),
    api.run("ledger", "account_minute"),
  ]);
  assert.match(all.stdout, /^PIPELINE +CONSUMED .*\naccount_minute .*\n\nNAME +KIND +READ +=/);
  assert.match(all.stdout, /^user_profiles +source +10 +7 +2 +1$/m);
  assert.match(one.stdout, /^NAME .*\nusers_out +delivery +1,234,567 +1,234,567 +0 +0\n$/);
  assert.match(pipeline.stdout, /^PIPELINE .*\naccount_minute .*\n$/);
});

Deno.test("what cannot be done ends with code 2 and says why", async () => {
  await using api = served();
  const cases: readonly [readonly string[], RegExp][] = [
    [["connectors", "nope"], /nope is not one of: user_profiles, users_out/],
    [["connectors", "pause", "user_profiles"], /takes NAME, rejected, stop, start, limit, not "pause"/],
    [["connectors", "stop"], /NAME is missing/],
    [["connectors", "limit", "user_profiles"], /N or none is missing/],
    [
      ["connectors", "limit", "user_profiles", "0"],
      /must be a number of records a second above 0, or none; "0" is not/,
    ],
    [["connectors", "stop", "user_profiles", "now"], /"now" is one argument too many/],
    [["ledger", "nope"], /there is no pipeline "nope"/],
  ];
  await Promise.all(cases.map(async ([args, told]) => {
    const { code, stderr } = await api.run(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, told);
  }));
  assert.deepEqual(api.told, []);
});
