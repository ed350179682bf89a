import assert from "node:assert/strict";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";

Deno.test("ports that are taken are all named at once, with the flag and the variable that change them", async () => {
  await using folder = temporaryFolder();
  const listeners = Array.from({ length: 4 }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  try {
    const [api, broker, registry, database] = listeners.map(({ addr }) => String((addr as Deno.NetAddr).port));
    const taken = [
      { flag: "--port", variable: "TAILRACE_PORT", port: api },
      { flag: "--broker-port", variable: "TAILRACE_BROKER_PORT", port: broker },
      { flag: "--registry-port", variable: "TAILRACE_REGISTRY_PORT", port: registry },
      { flag: "--postgres-port", variable: "TAILRACE_POSTGRES_PORT", port: database },
    ];
    const flags = taken.flatMap(({ flag, port }) => [flag, port]);
    const { code, stderr } = await runToEnd(["dev", "--data", `${folder.path}/data`, ...flags]);
    assert.equal(code, 2, stderr);
    for (const { flag, variable, port } of taken) {
      const line = stderr.split("\n").find((line) => line.includes(`port ${port} is taken`));
      assert.ok(line?.includes(`${flag} (${variable})`), stderr);
    }
    assert.match(stderr, /^4 things have to be mended/m);
    assert.ok(!stderr.includes("    at "), `no stack trace: ${stderr}`);
  } finally {
    for (const listener of listeners) listener.close();
  }
});

Deno.test("one taken port alone is named alone", async () => {
  await using folder = temporaryFolder();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const args = ["--data", `${folder.path}/data`, ...FREE_PORTS.slice(0, -1), String(port)];
  const { code, stderr } = await runToEnd(["dev", ...args]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /^One thing has to be mended/m);
  assert.ok(stderr.includes(`--postgres-port (TAILRACE_POSTGRES_PORT): port ${port} is taken`), stderr);
});

Deno.test("a second Tailrace on the same data folder says so and leaves the first alone", async () => {
  await using folder = temporaryFolder();
  const args = ["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, "--rate", "100"];
  await using first = await Tailrace.start(args);
  const { code, stderr } = await runToEnd(args);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /--data \(TAILRACE_DATA\): .*data is in use by another running Tailrace/);
  const { buckets } = await first.status("account_minute");
  await first.until("the first goes on", async () => {
    const status = await first.status("account_minute");
    return status.state === "running" && status.buckets.consumed > buckets.consumed;
  });
});

Deno.test("a data folder that cannot be written is named", async () => {
  await using folder = temporaryFolder();
  await Deno.writeTextFile(`${folder.path}/file`, "");
  const { code, stderr } = await runToEnd(["dev", "--data", `${folder.path}/file`, ...FREE_PORTS]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /--data \(TAILRACE_DATA\): .*file cannot be written/);
});
