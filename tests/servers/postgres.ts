/**
 * PostgreSQL 18 for tests: the embedded one in a temporary folder, in a process of its own, so that nothing of it is under way
 * in the test's process. `TAILRACE_TEST_DATABASE_URL` names a server to use instead, which several test files may share.
 *
 * @module
 */
import { join } from "node:path";
import postgres from "postgres";
import { lastLines, startChild } from "./child.ts";

const SHARED = "TAILRACE_TEST_DATABASE_URL";
const START_WITHIN_MS = 60_000;

export interface TestPostgres extends AsyncDisposable {
  /** The server's own database; make one with `database` to be alone. */
  readonly url: string;
  /** Makes an empty database and returns its URL. */
  database(): Promise<string>;
}

/** The shared server, or a new one that ends when disposed of. */
export async function borrowPostgres(): Promise<TestPostgres> {
  const shared = Deno.env.get(SHARED);
  return shared ? handle(shared, () => Promise.resolve()) : await startTestPostgres();
}

/** Starts a server of its own and resolves when it answers. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-postgres-" });
  await Deno.chmod(folder, 0o755);
  const logFile = join(folder, "out.log");
  const script = join(import.meta.dirname!, "postgres_child.ts");
  const child = startChild(Deno.execPath(), ["run", "-A", script, join(folder, "data")], {
    logFile,
    cwd: join(import.meta.dirname!, "../.."),
  });
  const stop = async () => {
    await child.stop();
    await Deno.remove(folder, { recursive: true });
  };
  let over = false;
  child.ended.then(() => over = true);
  for (const deadline = performance.now() + START_WITHIN_MS;;) {
    const log = await Deno.readTextFile(logFile).catch(() => "");
    const url = /^(postgres:\/\/.*)\n/m.exec(log)?.[1];
    if (url !== undefined) return handle(url, stop);
    if (over || performance.now() > deadline) {
      const said = await lastLines(logFile);
      await stop();
      throw new Error(`PostgreSQL did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function handle(url: string, stop: () => Promise<void>): TestPostgres {
  let stopped: Promise<void> | null = null;
  return {
    url,
    database: async () => {
      const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
      const sql = postgres(url, { max: 1, onnotice: () => {} });
      try {
        await sql.unsafe(`create database ${name}`);
      } finally {
        await sql.end();
      }
      const own = new URL(url);
      own.pathname = `/${name}`;
      return own.href;
    },
    [Symbol.asyncDispose]: () => stopped ??= stop(),
  };
}
