import assert from "node:assert/strict";
import fc from "fast-check";
import { createApp } from "../../api/app.ts";
import { hideSecret, hideUrlPassword, redact, SECRET_CHARACTERS_MIN } from "../../api/security/redact.ts";
import { type ConfigSources, hideSecrets, readConfig, SETTINGS, showSettings } from "../../cli/config.ts";
import { createLogger } from "../../cli/log.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { fakeDeps, pipelineStatus } from "./fake_deps.ts";

/** Printed with a failure; give it as `seed` to see the same again. */
const SEED = Number(Deno.env.get("TAILRACE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const RUN = { seed: SEED, numRuns: 150 };

/** Texts nobody writes by chance, so that finding one means that it leaked. */
const secrets = fc.tuple(
  fc.string({ unit: fc.constantFrom(..."aZ09-_.~!*'() $&+,;=%\"\\<>{}|^`[]#?/@:é𝄞\n"), maxLength: 12 }),
  fc.stringMatching(/^[a-z0-9]{12}$/),
).map(([odd, plain]) => `${plain}${odd}${plain}`);

/** Every way the secret could be read out of a text: its plain half is in all of its forms. */
function assertHides(text: string, secret: string, where: string): void {
  const plain = secret.slice(0, 12);
  assert.ok(!text.includes(plain), `${where}: ${JSON.stringify(text)} shows ${JSON.stringify(secret)}`);
}

function url(scheme: string, user: string, password: string): string {
  return `${scheme}://${user}:${encodeURIComponent(password)}@db.example:5432/results?sslmode=require`;
}

/** Where a secret may be given: as the password, inside a URL that is right, inside one that is not. */
function sourcesWith(secret: string): ConfigSources[] {
  const environment = { KAFKA_SASL_MECHANISM: "PLAIN", KAFKA_SASL_USERNAME: "u" };
  const wrong = [`postgres//u:${secret}@db/x`, `u:${secret}@db/x`, `mysql://u:${secret}@db/x`, `:${secret}@`];
  return [
    { flags: {}, environment: { ...environment, KAFKA_SASL_PASSWORD: secret }, file: null },
    { flags: {}, environment, file: { path: "t.json", content: { "kafka-sasl-password": secret } } },
    { flags: { database: url("postgres", "me", secret) }, environment: {}, file: null },
    { flags: {}, environment: { SCHEMA_REGISTRY_URL: url("https", "me", secret) }, file: null },
    { flags: {}, environment: {}, file: { path: "t.json", content: { database: url("postgres", "me", secret) } } },
    ...wrong.map((text) => ({ flags: { registry: text }, environment: { DATABASE_URL: text }, file: null })),
  ];
}

Deno.test("no secret of any source is in the settings shown, in a fault or in its message", () => {
  fc.assert(
    fc.property(secrets, (secret) => {
      for (const sources of sourcesWith(secret)) {
        hideSecrets(sources);
        assertHides(JSON.stringify(showSettings("dev", sources)), secret, "/v1/config");
        try {
          readConfig("dev", sources);
        } catch (error) {
          assert.ok(error instanceof ConfigError);
          assertHides(error.message, secret, "the faults");
        }
      }
    }),
    RUN,
  );
});

Deno.test("no secret is in a log line, in words or in JSON, wherever it is told", () => {
  fc.assert(
    fc.property(secrets, fc.string(), (secret, around) => {
      hideSecret(secret);
      for (const isTerminal of [true, false]) {
        const lines: string[] = [];
        const log = createLogger(isTerminal, (line) => lines.push(line));
        for (
          const form of [secret, encodeURIComponent(secret), JSON.stringify(secret), `postgres://me:${secret}@h/d`]
        ) {
          log.error(`${around}${form}${around}`, {
            error: form,
            cause: new Error(form),
            list: [{ inner: form }],
          });
        }
        assert.equal(lines.length, 4);
        for (const line of lines) {
          assertHides(line, secret, "the log");
          if (!isTerminal) JSON.parse(line);
        }
      }
    }),
    RUN,
  );
});

Deno.test("no secret is in an answer of the API: states, readiness, errors, pages", async () => {
  await fc.assert(
    fc.asyncProperty(secrets, async (secret) => {
      hideUrlPassword(url("postgres", "me", secret));
      hideSecret(secret);
      const message = `cannot reach ${url("postgres", "me", secret)} with ${secret}`;
      const logged: string[] = [];
      const log = createLogger(false, (line) => logged.push(line));
      const fake = fakeDeps({
        results: { read: () => Promise.reject(new UnavailableError(message)) },
        ingest: { write: () => Promise.reject(new Error(message)) },
        ready: () => Promise.resolve([{ name: "postgres", ready: false, detail: message }]),
        log: (text, error) => log.error(text, { error: String(error) }),
      });
      fake.statuses = [pipelineStatus({ reason: message, lastError: { atMs: 0, message } })];
      const sources = { flags: { database: url("postgres", "me", secret) }, environment: {}, file: null };
      const app = createApp(fake.deps, { security: { settings: () => showSettings("dev", sources) } });
      const post = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
      const asked: [string, RequestInit?][] = [
        ["/readyz"],
        ["/v1/pipelines"],
        ["/v1/pipelines/account_minute"],
        ["/v1/pipelines/account_minute/results"],
        ["/v1/topics/transactions/records", post],
        ["/v1/config"],
        ["/metrics"],
        ["/docs"],
        ["/openapi.json"],
      ];
      for (const [path, init] of asked) {
        const response = await app.request(path, init);
        assertHides(await response.text() + JSON.stringify([...response.headers]), secret, path);
      }
      assert.equal(logged.length, 1);
      assertHides(logged[0], secret, "the log");
    }),
    { ...RUN, numRuns: 60 },
  );
});

Deno.test("what looks like a secret is hidden without being known", () => {
  const key = `trk_${"0".repeat(16)}_${"x".repeat(43)}`;
  const cases: [string, string][] = [
    ["postgres://me:pw@h:1/d and http://a:b@c/", "postgres://me:***@h:1/d and http://a:***@c/"],
    ["postgres://h/d?user=u&password=pw&x=1", "postgres://h/d?user=u&password=***&x=1"],
    ["host=h password='p w' dbname=d", "host=h password=*** dbname=d"],
    ["Authorization: Bearer abc.def-1", "Authorization: Bearer ***"],
    [`key ${key}.`, `key trk_${"0".repeat(16)}_***.`],
  ];
  for (const [text, told] of cases) assert.equal(redact(text), told);
});

Deno.test("what is no secret stays as it is", () => {
  hideUrlPassword("postgres://postgres:postgres@127.0.0.1/postgres");
  hideSecret("x".repeat(SECRET_CHARACTERS_MIN - 1));
  for (
    const text of [
      "writing to postgres: password authentication failed for user postgres",
      "http://127.0.0.1:8081/subjects/a@b answers 404",
      "xxx",
      "10:21:03 [::1]:9092",
    ]
  ) assert.equal(redact(text), text);
  assert.equal(redact("postgres://postgres:postgres@127.0.0.1/"), "postgres://postgres:***@127.0.0.1/");
});

Deno.test("a password is a secret, by whatever name", () => {
  for (const [name, { secret }] of Object.entries<{ secret?: true }>(SETTINGS)) {
    assert.equal(secret === true, /password|secret|token/i.test(name), name);
  }
});
