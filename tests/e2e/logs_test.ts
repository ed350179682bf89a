import assert from "node:assert/strict";
import { Child, commandLine, isInstalled, shell, temporaryFolder, until } from "./harness.ts";

/** Nothing listens on port 1, so that it waits for PostgreSQL, and says so. */
function nowhere(folder: string): string[] {
  const addresses = ["--brokers", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"];
  return ["run", "--data", folder, "--port", "0", ...addresses, "--database", "postgres://me:secret@127.0.0.1:1/db"];
}

Deno.test("logs are JSON lines when nobody watches, and waiting for what is away ends with Ctrl-C and code 0", async () => {
  await using folder = temporaryFolder();
  await using child = new Child(commandLine(nowhere(folder.path)));
  await until("it says what it waits for", () => child.stderr.includes("waiting for PostgreSQL"));
  child.kill("SIGINT");
  const { code, stderr } = await child.exited();
  assert.equal(code, 0, stderr);
  const entries = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  for (const entry of entries) {
    assert.ok(!Number.isNaN(Date.parse(entry.time)));
    assert.match(entry.level, /^(info|warn|error)$/);
  }
  const waiting = entries.find(({ message }) => message.includes("waiting for PostgreSQL"));
  assert.equal(waiting.level, "warn");
  assert.match(waiting.message, /127\.0\.0\.1:1/);
  assert.ok(!stderr.includes("secret"));
});

Deno.test({
  name: "logs are words with a time of day on a terminal",
  ignore: !await isInstalled("script"),
  fn: async () => {
    await using folder = temporaryFolder();
    const command = commandLine(nowhere(`${folder.path}/data`)).join(" ");
    // The file begins with the command itself, which is not to be found.
    const seen = `${folder.path}/seen`;
    const interrupted =
      `${command} & until grep -q "[w]aiting for PostgreSQL" ${seen}; do sleep 0.1; done; kill -INT $!; wait $!`;
    const { stdout } = await shell(`timeout 120 script -qefc '${interrupted}' ${seen}`);
    const lines = stdout.replaceAll("\r", "").trimEnd().split("\n");
    assert.ok(lines.length > 0);
    assert.match(stdout, /^\d\d:\d\d:\d\d .*waiting for PostgreSQL/m);
    assert.match(stdout, /^\d\d:\d\d:\d\d .*stopping \(Ctrl-C once more to stop at once\)/m);
    for (const line of lines) assert.ok(!line.startsWith("{"), line);
  },
});
