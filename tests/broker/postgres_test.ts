import assert from "node:assert/strict";
import process from "node:process";
import { join } from "node:path";
import { startPostgres } from "../../broker/postgres.ts";
import { hasEnded, readPostmaster, stopPostmaster } from "../../broker/postgres_postmaster.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "tailrace-postgres-" });
  await Deno.chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function query(server: { url: string }, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgresClient(server.url);
  try {
    return [...await sql.unsafe(text)];
  } finally {
    await sql.end();
  }
}

const start = (dataDir: string, more: { port?: number; onProgress?: (step: string) => void } = {}) =>
  startPostgres({ host: "127.0.0.1", port: 0, dataDir, ...more });

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 400_000;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`did not happen in 400 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A child process that owns a server, and what it printed first. */
async function startChild(dataDir: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", join(import.meta.dirname!, "postgres_child.ts"), dataDir],
    stdout: "piped",
    // Not ours, which would be held open by it when these tests are interrupted.
    stderr: "null",
    detached: true,
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await lines.read();
  return { child, lines, server: JSON.parse(value!) as { url: string; pid: number } };
}

Deno.test("PostgreSQL starts with logical WAL, keeps its data and password, and refuses any other password", async () => {
  await using folder = await temporaryFolder();
  let pid: number;
  {
    await using server = await start(folder.path);
    pid = server.pid;
    assert.deepEqual(await query(server, "select current_setting('wal_level') as wal, current_database() as name"), [
      { wal: "logical", name: "tailrace" },
    ]);
    await query(server, "create table kept (amount numeric(12,2)); insert into kept values (12.50)");
    await assert.rejects(query({ url: server.url.replace(/:[0-9a-f]{48}@/, ":guess@") }, "select 1"), /password/);
    assert.equal((await Deno.stat(join(folder.path, "password"))).mode! & 0o777, 0o600);
  }
  assert.ok(await hasEnded(pid), "close waits for the server to end");
  await using again = await start(folder.path);
  assert.deepEqual(await query(again, "select amount from kept"), [{ amount: "12.50" }]);
});

Deno.test("A taken port is named together with the setting that changes it", async () => {
  await using folder = await temporaryFolder();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  await assert.rejects(start(folder.path, { port }), (error: ConfigError) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.faults[0].where, "--postgres-port (TAILRACE_POSTGRES_PORT)");
    assert.match(error.message, new RegExp(`port ${port} on 127.0.0.1 is taken`));
    return true;
  });
  await using server = await start(folder.path);
  assert.equal((await query(server, "select 1 as one"))[0].one, 1);
});

Deno.test("A data folder that a running process holds is refused, not taken over", async () => {
  await using folder = await temporaryFolder();
  await using server = await start(folder.path);
  await assert.rejects(start(folder.path), /held by another running Tailrace/);
  assert.equal((await query(server, "select 1 as one"))[0].one, 1);
});

Deno.test("A server that is killed is started again on the same port with what was committed", async () => {
  await using folder = await temporaryFolder();
  const steps: string[] = [];
  await using server = await start(folder.path, { onProgress: (step) => steps.push(step) });
  await query(server, "create table kept as select generate_series(1, 1000) as n");
  const before = server.pid;
  process.kill(before, "SIGKILL");
  await until(async () => server.pid !== 0 && server.pid !== before && await answers(server), "a new server answers");
  assert.deepEqual(await query(server, "select count(*)::int as n from kept"), [{ n: 1000 }]);
  assert.ok(steps.some((step) => step.includes("ended unexpectedly")));
});

async function answers(server: { url: string }): Promise<boolean> {
  return await query(server, "select 1").then(() => true, () => false);
}

Deno.test("When the owner is killed the server shuts down by itself, and the next start finds everything", async () => {
  await using folder = await temporaryFolder();
  const { child, lines, server } = await startChild(folder.path);
  await query(server, "create table kept as select generate_series(1, 1000) as n");
  process.kill(child.pid, "SIGKILL");
  await child.status;
  await lines.cancel();
  await until(() => hasEnded(server.pid), "the orphan ends");
  await using again = await start(folder.path);
  assert.deepEqual(await query(again, "select count(*)::int as n from kept"), [{ n: 1000 }]);
});

Deno.test("A start right after the owner was killed takes over while the old server is still running", async () => {
  await using folder = await temporaryFolder();
  const { child, lines, server } = await startChild(folder.path);
  process.kill(child.pid, "SIGKILL");
  await child.status;
  await lines.cancel();
  await using again = await start(folder.path);
  assert.notEqual(again.pid, server.pid);
  assert.ok(await hasEnded(server.pid));
  assert.equal((await query(again, "select 1 as one"))[0].one, 1);
});

Deno.test("A stale postmaster.pid whose process id now belongs to another program does not stop the start", async () => {
  await using folder = await temporaryFolder();
  await (await start(folder.path)).close();
  const stale = join(folder.path, "cluster", "postmaster.pid");
  await Deno.writeTextFile(
    stale,
    `${Deno.pid}\n${join(folder.path, "cluster")}\n1\n5432\n\n127.0.0.1\n0 0\nready   \n`,
  );
  await using server = await start(folder.path);
  assert.equal((await readPostmaster(join(folder.path, "cluster")))!.pid, server.pid);
});

Deno.test("A postmaster.pid that its server removes while it is looked at does not stop the start", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "postmaster.pid");
  for (let round = 0; round < 5; round++) {
    await Deno.writeTextFile(file, `${Deno.pid}\n${folder.path}\n${Date.now()}\n0\n`);
    const stopping = stopPostmaster(folder.path, () => {});
    // It has read the file, and asks the system about the process, which runs another program.
    await readPostmaster(folder.path);
    await Deno.remove(file).catch(() => {});
    await stopping;
  }
});

Deno.test("Ctrl-C in the terminal reaches the owner but not the server, which answers until it is closed", async () => {
  await using folder = await temporaryFolder();
  const { child, lines, server } = await startChild(folder.path);
  // A negative id signals the whole process group, as a terminal does.
  process.kill(-child.pid, "SIGINT");
  const { value } = await lines.read();
  assert.deepEqual(JSON.parse(value!), [{ one: 1 }]);
  assert.equal((await child.status).code, 0);
  await lines.cancel();
  assert.ok(await hasEnded(server.pid));
});

Deno.test({
  name: "As root the server runs as another user, in a folder only root may enter, and keeps an earlier owner",
  // Only root can give files to another user; elsewhere there is nothing to switch.
  ignore: Deno.uid() !== 0,
  async fn() {
    await using folder = await temporaryFolder();
    const inner = join(folder.path, "private", "data");
    await Deno.mkdir(inner, { recursive: true });
    await Deno.chmod(join(folder.path, "private"), 0o700);
    await (await start(inner)).close();
    const cluster = join(inner, "cluster");
    assert.notEqual((await Deno.stat(cluster)).uid, 0);
    const nobody = 65534;
    const chown = await new Deno.Command("chown", { args: ["-R", `${nobody}:${nobody}`, cluster] }).output();
    assert.ok(chown.success);
    await using server = await start(inner);
    assert.equal((await query(server, "select 1 as one"))[0].one, 1);
    assert.equal((await Deno.stat(join(cluster, "postmaster.pid"))).uid, nobody);
  },
});
