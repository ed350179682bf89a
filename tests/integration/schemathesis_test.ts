import assert from "node:assert/strict";
import { join } from "node:path";
import { FREE_PORTS, Tailrace, temporaryFolder } from "../e2e/harness.ts";

const PACKAGE = "schemathesis==4.32.5";
const SEED = Deno.env.get("TAILRACE_SEED") ?? "1";
/** Streams do not end; what they answer before that is looked at in tests/api. */
const STREAMS = "/v1/live$|/results/stream$";

/** Addresses beyond 64 KiB are the HTTP server's to refuse: it answers them itself, without a body, before the API sees them. */
const HOOKS = `
import urllib.parse
import schemathesis

@schemathesis.hook
def filter_case(context, case):
    query = case.query if isinstance(case.query, dict) else {}
    return len(urllib.parse.urlencode(query, doseq=True, errors="replace")) < 60_000
`;

/** The program in a virtual environment of its own, or why there is none. */
async function install(folder: string): Promise<{ program: string } | { why: string }> {
  const run = async (program: string, args: string[]): Promise<string | null> => {
    try {
      const { success, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
      return success ? null : new TextDecoder().decode(stderr).trim();
    } catch (error) {
      return (error as Error).message;
    }
  };
  const venv = await run("python3", ["-m", "venv", folder]);
  if (venv !== null) return { why: `Python 3 with venv is missing: ${venv.split("\n")[0]}` };
  const installed = await run(join(folder, "bin", "pip"), [
    "install",
    "--quiet",
    "--disable-pip-version-check",
    PACKAGE,
  ]);
  if (installed !== null) return { why: `${PACKAGE} cannot be installed: ${installed.split("\n").at(-1)}` };
  return { program: join(folder, "bin", "schemathesis") };
}

Deno.test("Schemathesis finds no failure of the server and no answer that is not documented", async (t) => {
  await using folder = temporaryFolder();
  const found = await install(join(folder.path, "python"));
  if ("why" in found) console.log(`skipped: ${found.why}`);
  await t.step({
    name: "the API of a running dev, all of it",
    ignore: "why" in found,
    async fn() {
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
        const { code, stdout, stderr } = await new Deno.Command((found as { program: string }).program, {
          args: [
            "run",
            `${tailrace.url}/openapi.json`,
            ...["--seed", SEED, "--max-examples", "40", "--request-timeout", "10", "--no-color"],
            ...["--checks", checks.join(",")],
            ...paths,
          ],
          cwd: folder.path, // it leaves its notes there
          env: { SCHEMATHESIS_HOOKS: "tailrace_hooks", PYTHONPATH: folder.path },
          stdin: "null",
          signal: AbortSignal.timeout(240_000),
        }).output();
        const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        const report = text.slice(Math.max(0, text.indexOf("= FAILURES =")));
        assert.equal(code, 0, `seed ${SEED} (TAILRACE_SEED)\n${report}`);
        assert.match(text, /Test cases:\n +\d{2,} generated/);
      };
      const documented = ["status_code_conformance", "content_type_conformance", "response_schema_conformance"];
      // It stops pipelines too, and then 503 is what /readyz has to say.
      await attack(["not_a_server_error", ...documented], ["--exclude-path-regex", `${STREAMS}|^/readyz$`]);
      await attack(documented, ["--include-path", "/readyz"]);
      const logged = tailrace.child.stderr.split("\n").filter((line) => /"level":"error"| failed"/.test(line));
      assert.deepEqual(logged, []);
    },
  });
});
