import assert from "node:assert/strict";
import { type Config, readConfig, SETTINGS, settingsOf, showSettings, withoutPassword } from "../../cli/config.ts";
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

const BUCKET = {
  TAILRACE_LAKE: "s3://lake/tables",
  TAILRACE_S3_ACCESS_KEY_ID: "key",
  TAILRACE_S3_SECRET_ACCESS_KEY: "hunter22",
};

Deno.test("a lake is in the data folder, in another one, or in a bucket with its keys", () => {
  assert.deepEqual(read("dev").lake, { url: "", s3: null, cacheBytes: 10 * 2 ** 30, retentionMs: 7 * 86_400_000 });
  assert.deepEqual(read("dev", { flags: { lake: "file:///srv/a%20lake" } }).lake.url, "file:///srv/a%20lake");
  const s3 = { accessKeyId: "key", secretAccessKey: "hunter22", sessionToken: "", pathStyle: null };
  assert.deepEqual(
    read("dev", { environment: { ...BUCKET, TAILRACE_S3_ENDPOINT: "http://127.0.0.1:9000/" } }).lake.s3,
    {
      ...s3,
      endpoint: "http://127.0.0.1:9000",
      region: "us-east-1",
    },
  );
  const environment = {
    ...BUCKET,
    TAILRACE_S3_REGION: "eu-central-1",
    TAILRACE_S3_SESSION_TOKEN: "lent",
    TAILRACE_S3_PATH_STYLE: "false",
    TAILRACE_LAKE_CACHE: "500 MB",
    TAILRACE_LAKE_RETENTION: "36h",
  };
  assert.deepEqual(read("run", { environment: { ...RUN, ...environment } }).lake, {
    url: "s3://lake/tables",
    s3: { ...s3, endpoint: "", region: "eu-central-1", sessionToken: "lent", pathStyle: false },
    cacheBytes: 500_000_000,
    retentionMs: 36 * 3_600_000,
  });
});

Deno.test("a bucket without keys or region, and keys without a bucket, are told", () => {
  assert.deepEqual(faults("dev", { flags: { lake: "s3://lake" } }), [
    "TAILRACE_S3_ACCESS_KEY_ID: is needed with --lake = s3://lake",
    "TAILRACE_S3_SECRET_ACCESS_KEY: is needed with --lake = s3://lake",
    "TAILRACE_S3_REGION: is needed with --lake = s3://lake, unless TAILRACE_S3_ENDPOINT names a store's address",
  ]);
  assert.deepEqual(faults("dev", { flags: { "s3-endpoint": "http://h:1" } }), [
    "TAILRACE_LAKE: is needed with --s3-endpoint: s3://bucket/prefix",
  ]);
  assert.deepEqual(faults("dev", { flags: { "s3-endpoint": "http://h:1", lake: "file:///srv/lake" } }), []);
});

Deno.test("what names no lake is refused, and no secret is told", () => {
  const lakes = [
    "lake",
    "/srv/lake",
    "file://srv/lake",
    "file:///a%2fb",
    "file:///%",
    "s3://",
    "s3://UPPER/x",
    "s3://ab",
  ];
  for (
    const lake of [...lakes, "s3://a..b/x", "s3://key:secret@bucket/x", "s3://lake/../x", "s3://lake/a//b", "gs://lake"]
  ) {
    assert.match(faults("dev", { flags: { lake } }).join(), /^--lake: .* must be file:\/\/\/folder or s3:/, lake);
  }
  for (const lake of ["s3://lake", "s3://lake/", "s3://my.lake-2/a/b_c/", "s3://lake/env=prod"]) {
    assert.deepEqual(
      faults("dev", { flags: { lake, "s3-region": "eu-west-1" }, environment: { ...BUCKET, TAILRACE_LAKE: "" } }),
      [],
    );
  }
  const given = {
    ...BUCKET,
    TAILRACE_S3_ENDPOINT: "https://h/path",
    TAILRACE_S3_SECRET_ACCESS_KEY: "hunter two",
    TAILRACE_S3_PATH_STYLE: "maybe",
    TAILRACE_LAKE_CACHE: "1KiB",
    TAILRACE_LAKE_RETENTION: "1m",
  };
  assert.deepEqual(faults("dev", { environment: given }), [
    'TAILRACE_S3_ENDPOINT: "https://h/path" must be a URL of scheme, host and port alone, such as https://minio.example:9000',
    "TAILRACE_S3_SECRET_ACCESS_KEY: must be letters, digits and signs without spaces",
    'TAILRACE_S3_PATH_STYLE: "maybe" must be true, false or auto',
    'TAILRACE_LAKE_CACHE: "1KiB" must be from 64MiB to 1024TiB',
    'TAILRACE_LAKE_RETENTION: "1m" must be 1 hour or more',
  ]);
});

Deno.test("a default is shown as it would be given", () => {
  const shown = showSettings("dev", { flags: {}, environment: {}, file: null });
  const value = (name: string) => shown.find((setting) => setting.name === name)!.value;
  assert.deepEqual(
    ["checkpoint-every", "lake", "lake-cache", "lake-retention", "s3-path-style"].map(value),
    ["5", "", "10GiB", "7d", "auto"],
  );
  for (const setting of settingsOf("dev").filter(({ shown }) => shown !== undefined)) {
    assert.deepEqual(setting.parse(setting.shown!), { value: setting.fallback });
  }
});

Deno.test("Cassandra is there where nodes are named, and its other settings ask for nodes", () => {
  assert.equal(read("dev").cassandra, null);
  const environment = {
    TAILRACE_CASSANDRA: "one:9042, two:9042",
    TAILRACE_CASSANDRA_DATACENTER: "eu",
    TAILRACE_CASSANDRA_KEYSPACE: "shop",
    TAILRACE_CASSANDRA_USERNAME: "writer",
    TAILRACE_CASSANDRA_PASSWORD: "hunter2",
    TAILRACE_CASSANDRA_TLS: "true",
  };
  assert.deepEqual(read("dev", { environment }).cassandra, {
    contactPoints: ["one:9042", "two:9042"],
    datacenter: "eu",
    keyspace: "shop",
    credentials: { username: "writer", password: "hunter2" },
    tls: { authoritiesFile: "" },
  });
  assert.deepEqual(read("dev", { environment: { TAILRACE_CASSANDRA: "one:9042" } }).cassandra, {
    contactPoints: ["one:9042"],
    datacenter: null,
    keyspace: "tailrace",
    credentials: null,
    tls: null,
  });
  const wrong = {
    TAILRACE_CASSANDRA_USERNAME: "writer",
    TAILRACE_CASSANDRA_KEYSPACE: "Shop-1",
    TAILRACE_CASSANDRA_CA: "ca.pem",
  };
  assert.deepEqual(faults("dev", { environment: wrong }), [
    'TAILRACE_CASSANDRA_KEYSPACE: "Shop-1" must be 1 to 48 of a-z, 0-9 and _, a letter first',
    "TAILRACE_CASSANDRA_PASSWORD: is needed with TAILRACE_CASSANDRA_USERNAME",
    "TAILRACE_CASSANDRA_TLS: is needed with TAILRACE_CASSANDRA_CA: true",
    "TAILRACE_CASSANDRA: is needed with TAILRACE_CASSANDRA_USERNAME",
  ]);
  const shown = showSettings("dev", { flags: {}, environment, file: null });
  assert.ok(!JSON.stringify(shown).includes("hunter2"));
});
