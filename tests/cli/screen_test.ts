import assert from "node:assert/strict";
import { readConfig } from "../../cli/config.ts";
import { startScreen } from "../../cli/screen.ts";
import type { ConnectorStatus } from "../../pipeline/runtime/connector_status.ts";
import { connectorStatus } from "../api/fake_connectors.ts";

const config = readConfig("dev", { flags: {}, environment: {}, file: null });
const where = {
  brokers: ["127.0.0.1:9092"],
  registryUrl: "http://127.0.0.1:8081",
  databaseUrl: "postgres://tailrace:hush@127.0.0.1:5432/tailrace",
  api: "http://127.0.0.1:8000",
};
const screen = (connectors: readonly ConnectorStatus[]) => startScreen(config, { plans: [], connectors }, where);
const source = (name: string, changes: Partial<ConnectorStatus> = {}) =>
  connectorStatus({ name, from: `made up ${name}`, to: [`topic ${name}`], topic: name, ...changes });

Deno.test("a process of sources and deliveries alone has a screen that names them and says where to look at them", () => {
  const text = screen([
    source("products", { from: "table shop.products" }),
    source("products_files", { kind: "delivery", from: "topic products", to: ["JSON files"] }),
    source("forward", { topic: "the same topics", to: ["the same topics of another cluster"] }),
  ]);
  for (
    const words of [
      /^ +Sources +products: table shop\.products to topic products$/m,
      /^ +Deliveries +products_files: topic products to JSON files$/m,
      /^ +connectors +curl -s http:\/\/127\.0\.0\.1:8000\/v1\/connectors$/m,
      /^ +Kafka +kcat -b 127\.0\.0\.1:9092 -t products -C /m,
      /^ +stop +Ctrl-C/m,
    ]
  ) assert.match(text, words);
  assert.doesNotMatch(text, /undefined|hush|\/results\?|^ +(live|SQL|Pipelines|Generator|Not set up)/m);
});

Deno.test("those that rest are one line, each with the variable to set", () => {
  const rests = (name: string, reason: string) => source(name, { state: "stopped", reason });
  const text = screen([
    rests("forward", "secret upstream_brokers: is not set: give it as TAILRACE_SECRET_UPSTREAM_BROKERS, or in a file"),
    rests("profiles", "TAILRACE_CASSANDRA is not set"),
    rests("sensors", "nothing is made up here"),
  ]);
  const told = "forward (TAILRACE_SECRET_UPSTREAM_BROKERS), profiles (TAILRACE_CASSANDRA), sensors; " +
    "deno task connectors says more";
  assert.ok(text.split("\n").some((line) => line.trim() === `Not set up       ${told}`), text);
  assert.doesNotMatch(text, /Sources|kcat/);
});

Deno.test("many sources take six lines", () => {
  const text = screen(Array.from({ length: 20 }, (_, i) => source(`s${i}`)));
  assert.equal(text.split("\n").filter((line) => line.includes("made up")).length, 5);
  assert.match(text, /^ +and 15 more$/m);
});
