import assert from "node:assert/strict";
import { join } from "node:path";
import { FREE_PORTS, Tailrace, temporaryFolder } from "../e2e/harness.ts";
import { pythonProgram, whyNoPython } from "../servers/python.ts";
import { SCHEMATHESIS } from "../servers/python_sets.ts";

const SEED = Deno.env.get("TAILRACE_SEED") ?? "1";
/** Streams do not end; what they answer before that is looked at in tests/api. */
const STREAMS = "/v1/live$|/results/stream$";

/** Each request has a minute; how long thousands of them take is up to the machine, and what else it does. */
const ATTACK_MS_MAX = 900_000;

/**
 * Addresses beyond 64 KiB are the HTTP server's to refuse: it answers them itself, without a body, before the API sees them. Bodies
 * of a format that Schemathesis does not know are sent as they were made up. A 503 is what the API says when a busy machine lets
 * PostgreSQL or Kafka take seconds: it is asked again, and has to go.
 */
const HOOKS = `
import json
import time
import urllib.parse
import schemathesis

@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.avro", "avro/binary")
def as_it_is(context, value):
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", errors="replace")

@schemathesis.check
def answers_in_the_end(context, response, case):
    for pause in (1, 2, 4, 8, 15):
        if response.status_code != 503:
            break
        time.sleep(pause)
        response = case.call(timeout=60)
    assert response.status_code < 500, f"{response.status_code}: {response.text}"

@schemathesis.hook
def filter_case(context, case):
    query = case.query if isinstance(case.query, dict) else {}
    return len(urllib.parse.urlencode(query, doseq=True, errors="replace")) < 60_000
`;

Deno.test("Schemathesis finds no failure of the server and no answer that is not documented", async (t) => {
  await using folder = temporaryFolder();
  const why = await whyNoPython(SCHEMATHESIS);
  if (why !== null) console.log(`skipped: ${why}`);
  await t.step({
    name: "the API of a running dev, all of it",
    ignore: why !== null,
    async fn() {
      const program = await pythonProgram(SCHEMATHESIS, "schemathesis");
      await using tailrace = await Tailrace.start([
        "dev",
        "--data",
        join(folder.path, "data"),
        "--rate",
        "50",
        ...FREE_PORTS,
      ]);
      await tailrace.until(
        "records are read",
        async () => (await tailrace.status("account_minute")).buckets.consumed > 0,
      );
      await Deno.writeTextFile(join(folder.path, "tailrace_hooks.py"), HOOKS);
      const attack = async (checks: readonly string[], paths: readonly string[]) => {
        const { code, stdout, stderr } = await new Deno.Command(program, {
          args: [
            "run",
            `${tailrace.url}/openapi.json`,
            ...["--seed", SEED, "--max-examples", "40", "--request-timeout", "60", "--no-color"],
            // How long the making of requests takes says nothing of the API.
            ...["--suppress-health-check", "all"],
            ...["--checks", checks.join(",")],
            ...paths,
          ],
          cwd: folder.path, // it leaves its notes there
          env: { SCHEMATHESIS_HOOKS: "tailrace_hooks", PYTHONPATH: folder.path },
          stdin: "null",
          signal: AbortSignal.timeout(ATTACK_MS_MAX),
        }).output();
        const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        const report = text.slice(Math.max(0, text.indexOf("= FAILURES =")));
        assert.equal(code, 0, `seed ${SEED} (TAILRACE_SEED)\n${report}`);
        assert.match(text, /Test cases:\n +\d{2,} generated/);
      };
      const documented = ["status_code_conformance", "content_type_conformance", "response_schema_conformance"];
      // It stops pipelines too, and then 503 is what /readyz has to say.
      await attack(["answers_in_the_end", ...documented], ["--exclude-path-regex", `${STREAMS}|^/readyz$`]);
      await attack(documented, ["--include-path", "/readyz"]);
      const logged = tailrace.child.stderr.split("\n").filter((line) => /"level":"error"| failed"/.test(line));
      assert.deepEqual(logged, []);
    },
  });
});
