import assert from "node:assert/strict";
import { type Config, readConfig, SETTINGS, settingsOf, withoutPassword } from "../../cli/config.ts";
import { ConfigError } from "../../pipeline/errors.ts";

interface Given {
  readonly flags?: Record<string, string>;
  readonly environment?: Record<string, string>;
  readonly file?: unknown;
}

function read(mode: Config["mode"], { flags = {}, environment = {}, file }: Given = {}): Config {
  return readConfig(mode, {
    flags,
    environment,
    file: file === undefined ? null : { path: "tailrace.json", content: file },
  });
}

function faults(mode: Config["mode"], given: Given): string[] {
  try {
    read(mode, given);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.faults.map(({ where, problem }) => `${where}: ${problem}`);
  }
  return [];
}

const RUN = {
  KAFKA_BROKERS: "one:9092, [::1]:9093",
  SCHEMA_REGISTRY_URL: "https://schemas.example/",
  DATABASE_URL: "postgres://user:secret@db/tailrace",
};

Deno.test("dev needs nothing, run needs to be told where everything is", () => {
  const dev = read("dev");
  assert.deepEqual([dev.brokers, dev.registryUrl, dev.databaseUrl, dev.rate], [[], "", "", 3000]);
  assert.deepEqual(faults("run", {}), [
    "KAFKA_BROKERS: is not set; `dev` would start an embedded one",
    "SCHEMA_REGISTRY_URL: is not set; `dev` would start an embedded one",
    "DATABASE_URL: is not set; `dev` would start an embedded one",
  ]);
  const run = read("run", { environment: RUN });
  assert.deepEqual(run.brokers, ["one:9092", "[::1]:9093"]);
  assert.equal(run.registryUrl, "https://schemas.example");
  assert.equal(run.rate, 0);
});

Deno.test("a flag comes before the environment, and that before the file; an empty variable is none", () => {
  const file = { port: 3, workers: 3, partitions: 3, brokers: ["a:1", "b:2"], "kafka-ssl": true };
  const environment = { TAILRACE_PORT: "2", TAILRACE_WORKERS: "2", TAILRACE_PARTITIONS: "" };
  const config = read("dev", { flags: { port: "1" }, environment, file });
  assert.deepEqual([config.ports.api, config.workers, config.partitions], [1, 2, 3]);
  assert.deepEqual([config.brokers, config.kafka.ssl], [["a:1", "b:2"], true]);
});

Deno.test("every fault is told at once, where it was given and with what would be right", () => {
  const given = {
    flags: { port: "eighty", rate: "-5", brokers: "localhost" },
    environment: {
      TAILRACE_WORKERS: "1.5",
      KAFKA_SSL: "yes",
      TAILRACE_CHECKPOINT_EVERY: "0",
      KAFKA_SASL_MECHANISM: "GSSAPI",
    },
    file: { partitions: 0, registry: "ftp://x", colour: "blue", database: { host: "x" } },
  };
  assert.deepEqual(
    faults("dev", given).map((line) => line.replace(/settings are .*/, "...")),
    [
      "tailrace.json: colour: is no setting of dev; ...",
      "tailrace.json: database: must be text, a number, true or false",
      'KAFKA_SASL_MECHANISM: "GSSAPI" must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512',
      '--brokers: "localhost" must be host:port, several with commas; "localhost" is not',
      'KAFKA_SSL: "yes" must be true or false',
      'tailrace.json: registry: "ftp://x" must be a URL that starts with http:// or https://',
      '--port: "eighty" must be a whole number from 0 to 65535',
      'TAILRACE_WORKERS: "1.5" must be a whole number from 1 to 64',
      '--rate: "-5" must be a whole number from 0 to 10000000, or max',
      'tailrace.json: partitions: "0" must be a whole number from 1 to 1000',
      'TAILRACE_CHECKPOINT_EVERY: "0" must be a number of seconds from 0.1 to 3600',
    ],
  );
});

Deno.test("a file that is no object, and settings of the other mode, are refused", () => {
  for (const file of [[], "text", 5, null]) {
    assert.match(faults("dev", { file })[0], /tailrace.json: must hold one JSON object/);
  }
  assert.match(faults("run", { environment: RUN, file: { rate: 5 } })[0], /rate: is no setting of run/);
});

Deno.test("names and passwords of SASL come together or not at all", () => {
  const sasl = { KAFKA_SASL_MECHANISM: "SCRAM-SHA-512", KAFKA_SASL_USERNAME: "u", KAFKA_SASL_PASSWORD: "p" };
  assert.deepEqual(read("dev", { environment: sasl }).kafka.sasl, {
    mechanism: "SCRAM-SHA-512",
    username: "u",
    password: "p",
  });
  assert.deepEqual(faults("dev", { environment: { KAFKA_SASL_MECHANISM: "PLAIN" } }), [
    "KAFKA_SASL_USERNAME: is needed with KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_PASSWORD: is needed with KAFKA_SASL_MECHANISM",
  ]);
  assert.deepEqual(faults("dev", { flags: { "kafka-sasl-username": "u" } }), [
    "KAFKA_SASL_MECHANISM: is needed with --kafka-sasl-username",
  ]);
});

Deno.test("no secret is shown, and a password is not taken from the command line", () => {
  const secret = "hunter2";
  for (
    const url of [
      `mysql://user:${secret}@db/x`,
      `mysql://user:${secret}@${secret}@db/x`,
      `mysql://user:${secret}/${secret}@db/x`,
      `user:${secret}@db:5432/x`,
      `mysql://db/x?user=u&password=${secret}`,
      `mysql://:${secret}@db`,
    ]
  ) {
    const [fault] = faults("dev", { environment: { DATABASE_URL: url, SCHEMA_REGISTRY_URL: url } });
    assert.ok(fault.startsWith("SCHEMA_REGISTRY_URL: "), fault);
    assert.ok(!faults("dev", { environment: { DATABASE_URL: url } }).join().includes(secret), url);
    assert.ok(!withoutPassword(url).includes(secret), url);
  }
  assert.equal(withoutPassword("postgres://user:x@db:5432/a"), "postgres://user:***@db:5432/a");
  assert.equal(withoutPassword("postgres://user@db:5432/a"), "postgres://user@db:5432/a");
  assert.equal(withoutPassword("http://127.0.0.1:8081"), "http://127.0.0.1:8081");
  const flagged = read("dev", {
    flags: { "kafka-sasl-password": secret },
    environment: { KAFKA_SASL_MECHANISM: "PLAIN", KAFKA_SASL_USERNAME: "u", KAFKA_SASL_PASSWORD: "other" },
  });
  assert.equal(flagged.kafka.sasl!.password, "other");
  assert.ok(SETTINGS.password.secret);
});

Deno.test("two embedded parts on one port are told; parts that are not started are not in the way", () => {
  assert.deepEqual(faults("dev", { flags: { port: "9092" } }), ["ports: api and broker are both to listen on 9092"]);
  assert.deepEqual(faults("dev", { flags: { port: "9092", brokers: "kafka:9092" } }), []);
  assert.deepEqual(faults("dev", { flags: { port: "8081", registry: "http://r" } }), []);
  assert.deepEqual(faults("dev", { flags: { port: "0", "broker-port": "0", "registry-port": "0" } }), []);
  assert.deepEqual(faults("run", { environment: RUN, flags: { port: "9092" } }), []);
});

Deno.test("values are read as they are meant", () => {
  assert.equal(read("dev", { flags: { rate: "max" } }).rate, Infinity);
  assert.equal(read("dev", { flags: { "checkpoint-every": "2.5s" } }).checkpointEveryMs, 2_500);
  assert.deepEqual(read("dev", { flags: { pipelines: "a, b,," } }).pipelines, ["a", "b"]);
  assert.match(faults("dev", { flags: { data: " " } })[0], /--data: " " is empty/);
  assert.match(faults("dev", { flags: { brokers: "h:99999" } })[0], /"h:99999" is not/);
  const flags = settingsOf("dev").map(({ flag }) => flag);
  assert.equal(new Set(flags).size, flags.length);
  assert.ok(!settingsOf("run").some(({ flag }) => flag === "rate"));
});
