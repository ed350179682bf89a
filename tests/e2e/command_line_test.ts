import assert from "node:assert/strict";
import { runToEnd, temporaryFolder } from "./harness.ts";

Deno.test("several faults of a configuration are told at once, each by the name to fix", async () => {
  await using folder = temporaryFolder();
  const config = `${folder.path}/tailrace.json`;
  await Deno.writeTextFile(config, JSON.stringify({ rate: "fast", "no-such-setting": 1, "broker-port": 99999 }));
  const { code, stdout, stderr } = await runToEnd(
    ["dev", "--config", config, "--workers", "0", "--brokers", "localhost", "--registry", "ftp://x", "--host", ""],
    { env: { TAILRACE_PARTITIONS: "many", DATABASE_URL: "mysql://me:secret@host/db" } },
  );
  assert.equal(code, 2);
  assert.equal(stdout, "");
  for (
    const told of [
      /^ +--brokers: "localhost" must be host:port/m,
      /^ +--registry: "ftp:\/\/x" must be a URL/m,
      /^ +DATABASE_URL: "mysql:\/\/me:\*\*\*@host\/db" must be a URL/m,
      /^ +--host: "" is empty/m,
      /^ +--workers: "0" must be a whole number from 1/m,
      /^ +TAILRACE_PARTITIONS: "many" must be a whole number/m,
      /^ +.*tailrace\.json: rate: "fast" must be a whole number .*or max/m,
      /^ +.*tailrace\.json: broker-port: "99999"/m,
      /^ +.*tailrace\.json: no-such-setting: is no setting of dev/m,
    ]
  ) assert.match(stderr, told);
  assert.match(stderr, /^9 things have to be mended/m);
  assert.ok(!stderr.includes("secret"));
});

Deno.test("run without addresses names all three of them", async () => {
  const { code, stderr } = await runToEnd(["run"]);
  assert.equal(code, 2);
  for (const variable of ["KAFKA_BROKERS", "SCHEMA_REGISTRY_URL", "DATABASE_URL"]) {
    assert.match(stderr, new RegExp(`^ +${variable}: is not set`, "m"));
  }
});

Deno.test("a pipeline that does not exist is told by name, with those that do", async () => {
  const { code, stderr } = await runToEnd(["dev", "--pipelines", "nothing"]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /nothing: there is no such pipeline, source or delivery; .*account_minute/);
});

Deno.test("a configuration file that is missing, is not JSON, or is no object is named", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/tailrace.json`;
  const missing = await runToEnd(["dev", "--config", path]);
  assert.equal(missing.code, 2);
  assert.ok(missing.stderr.includes(`--config ${path}: cannot be read`), missing.stderr);
  for (const [content, told] of [["{ no", "cannot be read"], ["[1]", "must hold one JSON object"]]) {
    await Deno.writeTextFile(path, content);
    const { code, stderr } = await runToEnd(["dev", "--config", path]);
    assert.equal(code, 2);
    assert.ok(stderr.includes(path) && stderr.includes(told), stderr);
  }
});

Deno.test("an unknown flag, a stray argument and an unknown command end with code 2 and say what there is", async () => {
  const flag = await runToEnd(["dev", "--broker-prot", "1"]);
  assert.equal(flag.code, 2);
  assert.match(flag.stderr, /tailrace dev: .*--broker-prot.*see tailrace dev --help/);
  const stray = await runToEnd(["dev", "now"]);
  assert.equal(stray.code, 2);
  assert.match(stray.stderr, /pipelines: now: there is no such pipeline, source or delivery/);
  const command = await runToEnd(["start"]);
  assert.equal(command.code, 2);
  assert.match(command.stderr, /There is no command "start"[^]*dev[^]*run[^]*replay/);
});

Deno.test("help is complete: every command, every option with its variable, exit codes", async () => {
  const overview = await runToEnd(["--help"]);
  assert.equal(overview.code, 0);
  for (const command of ["dev", "run", "replay", "check", "bench"]) {
    assert.match(overview.stdout, new RegExp(`^ +${command} +\\w`, "m"));
    const { code, stdout, stderr } = await runToEnd([command, "--help"]);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, "");
    assert.match(stdout, new RegExp(`^Usage: tailrace ${command}\\b`, "m"));
  }
  assert.match(overview.stdout, /Exit codes: 0 .*1 .*2 /);
  const none = await runToEnd([]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /Usage: tailrace COMMAND/);
  const dev = await runToEnd(["dev", "--help"]);
  for (const told of ["--broker-port N", "TAILRACE_BROKER_PORT, default 9092", "--rate N|max", "KAFKA_BROKERS"]) {
    assert.ok(dev.stdout.includes(told), `${told} is not in\n${dev.stdout}`);
  }
  assert.ok(!dev.stdout.includes("--kafka-sasl-password"), "a password is no flag");
  assert.match(dev.stdout, /^KAFKA_SASL_PASSWORD, or kafka-sasl-password in the file: /m);
  const version = await runToEnd(["--version"]);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^tailrace \d+\.\d+\.\d+\n$/);
});

Deno.test("check passes on the streams that come with Tailrace, without connecting to anything", async () => {
  const { code, stdout } = await runToEnd(["check"]);
  assert.equal(code, 0, stdout);
  for (const name of ["account_minute", "category_declines", "flights"]) assert.ok(stdout.includes(name), stdout);
});
