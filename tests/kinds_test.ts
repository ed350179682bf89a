import assert from "node:assert/strict";
import { planDelivery } from "../pipeline/deliveries/plan.ts";
import { deliveryKind } from "../pipeline/deliveries/delivery_spec.ts";
import * as definitions from "../pipeline/mod.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { readSchemas } from "../pipeline/plan/schemas.ts";
import { planSource } from "../pipeline/sources/plan.ts";
import { sourceKind } from "../pipeline/sources/source_spec.ts";

const { secret } = definitions;

const SOURCES = {
  eventStream: definitions.eventStream({ url: "https://a.example/events" }),
  files: definitions.files({ path: "in/*.csv" }),
  httpPoll: definitions.httpPoll({ url: "https://a.example/", every: "1 minute" }),
  kafkaTopics: definitions.kafkaTopics({ topics: ["a"] }),
  madeUp: definitions.madeUp("user_event", { perSecond: 1 }),
  postgresChanges: definitions.postgresChanges({ tables: ["a"] }),
  postgresRows: definitions.postgresRows({ table: "a", cursor: ["updated_at", "id"] }),
  webSocket: definitions.webSocket({ url: "wss://a.example/" }),
} as const;

const DESTINATIONS = {
  cassandra: definitions.cassandra("a"),
  jsonFiles: definitions.jsonFiles("a"),
  parquetFiles: definitions.parquetFiles("a"),
  postgresTable: definitions.postgresTable("a"),
  webhook: definitions.webhook({ url: secret("hook") }),
} as const;

Deno.test("every kind of source and destination has the name of its builder, and is found by it", async () => {
  for (const [name, spec] of Object.entries(SOURCES)) {
    assert.equal(spec.kind, name);
    await sourceKind(spec);
  }
  for (const [name, spec] of Object.entries(DESTINATIONS)) {
    assert.equal(spec.kind, name);
    await deliveryKind(spec);
  }
});

Deno.test("a destination is no source, and a source no destination: the definition is told so", async () => {
  const { delivery, source, topic } = definitions;
  const to = topic("products", { schema: "product", eventTime: "last_updated" });
  const schemas = await readSchemas("schemas");
  for (const kind of ["jsonFiles", "constructor"]) {
    await assert.rejects(
      planSource(source({ name: "s", from: { kind }, to }), schemas),
      (error) => error instanceof ConfigError && /s\.from: say what is read/.test(error.message),
    );
  }
  for (const kind of ["files", "constructor"]) {
    await assert.rejects(
      planDelivery(delivery({ name: "d", from: to, to: [{ kind }] }), schemas),
      (error) => error instanceof ConfigError && /d\.to\[0\]: is no destination/.test(error.message),
    );
  }
});
