import assert from "node:assert/strict";
import {
  Child,
  commandLine,
  descendantsOf,
  FREE_PORTS,
  IS_SLOWNESS,
  isRunning,
  STOP_WITHIN_MS,
  Tailrace,
  temporaryFolder,
  until,
} from "./harness.ts";

for (
  const [moment, printed] of [["creates its database", "creating the database"], ["applies migrations", "applied"]]
) {
  Deno.test(`Ctrl-C while a first start ${moment} ends it with code 0 and leaves no process`, async () => {
    await using folder = temporaryFolder();
    await using child = new Child(commandLine(["dev", "--data", `${folder.path}/data`, ...FREE_PORTS]));
    await until(`it ${moment}`, () => child.stderr.includes(printed));
    const children = descendantsOf(child.pid);
    const began = performance.now();
    child.kill("SIGINT");
    const { code, stderr } = await child.exited();
    assert.equal(code, 0, stderr);
    assert.ok(performance.now() - began < STOP_WITHIN_MS);
    assert.deepEqual(children.filter(isRunning), []);
    let isStopping = false;
    for (const line of stderr.trimEnd().split("\n")) {
      const { level, message } = JSON.parse(line);
      isStopping ||= message.startsWith("stopping");
      if (isStopping || !IS_SLOWNESS.test(message)) assert.equal(level, "info", line);
    }
  });
}

Deno.test("a Ctrl-C that comes twice at once, as npx and deno task pass it on, is one: it stops in order and says so", async () => {
  await using folder = temporaryFolder();
  // With little to do: each is heard at once.
  const little = ["--rate", "0", "--pipelines", "account_minute"];
  await using tailrace = await Tailrace.start(["dev", "--data", `${folder.path}/data`, ...little, ...FREE_PORTS]);
  tailrace.child.kill("SIGINT");
  tailrace.child.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 30));
  tailrace.child.kill("SIGINT");
  const { code, stderr } = await tailrace.child.exited();
  assert.equal(code, 0, stderr);
  assert.match(stderr, /"stopped"/);
});

Deno.test("a second Ctrl-C does not wait for a PostgreSQL that hangs, which ends all the same", async () => {
  await using folder = temporaryFolder();
  await using tailrace = await Tailrace.start(["dev", "--data", `${folder.path}/data`, ...FREE_PORTS]);
  const children = descendantsOf(tailrace.child.pid);
  const servers = children.filter((pid) => nameOf(pid) === "postgres" && tell(pid, "SIGSTOP"));
  assert.ok(servers.length > 0);
  try {
    tailrace.child.kill("SIGINT");
    await until("it has heard the first", () => tailrace.child.stderr.includes("Ctrl-C once more"));
    // What comes within a second of the first is the same Ctrl-C.
    for (let tries = 0; tries < 60 && !tailrace.child.hasEnded; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 1_300));
      tailrace.child.kill("SIGINT");
    }
    // A frozen server heeds no signal: whoever waits for it never ends.
    const { code } = await tailrace.child.exited();
    assert.equal(code, 130);
  } finally {
    for (const pid of servers) tell(pid, "SIGCONT");
  }
  await until("PostgreSQL has ended", () => !children.some(isRunning));
});

/** Null for a process that has ended since it was found. */
function nameOf(pid: number): string | null {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return null;
  }
}

/** False for a process that has ended since it was found. */
function tell(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
