/**
 * PostgreSQL 18 for tests: the embedded one in a temporary folder, in a process of its own, so that nothing of it is under way
 * in the test's process. `TAILRACE_TEST_DATABASE_URL` names a server to use instead, which several test files may share.
 *
 * @module
 */
import { join } from "node:path";
import { readPostmaster } from "../../broker/postgres_postmaster.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { type Child, lastLines, startChild } from "./child.ts";

const SHARED = "TAILRACE_TEST_DATABASE_URL";
const START_WITHIN_MS = 180_000;

export interface TestPostgres extends AsyncDisposable {
  /** The server's own database; make one with `database` to be alone. */
  readonly url: string;
  /** Makes an empty database and returns its URL. */
  database(): Promise<string>;
}

/** A server that can be taken away and comes back at the same address with the same data. */
export interface OwnPostgres extends TestPostgres {
  /** The folder of the cluster, in which `postmaster.pid` names the process. */
  readonly cluster: string;
  /** The process that started the server, and starts it again when it dies. */
  readonly keeperPid: number;
  /** Ends it, with SIGKILL if told so, and whatever keeps it running. */
  down(options?: { readonly kill?: boolean }): Promise<void>;
  /** Starts it again; resolves when it answers. */
  up(): Promise<void>;
}

/** The shared server, or a new one that ends when disposed of. */
export async function borrowPostgres(): Promise<TestPostgres> {
  const shared = Deno.env.get(SHARED);
  return shared ? { ...handle(shared), [Symbol.asyncDispose]: () => Promise.resolve() } : await startTestPostgres();
}

/** Starts a server of its own and resolves when it answers. */
export async function startTestPostgres(): Promise<OwnPostgres> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-postgres-" });
  await Deno.chmod(folder, 0o755);
  const cluster = join(folder, "data", "cluster");
  let running: { child: Child; url: string } | null = null;
  let port = 0;
  const up = async () => {
    running ??= await launch(folder, port);
    port = Number(new URL(running.url).port);
  };
  const down = async ({ kill = false } = {}) => {
    const was = running;
    running = null;
    if (!was) return;
    if (kill) {
      const server = await readPostmaster(cluster);
      // The keeper first, or it would start the server again.
      const ended = was.child.stop("SIGKILL");
      if (server) killIfThere(server.pid);
      await ended;
    } else {
      await was.child.stop();
    }
  };
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    await down();
    await Deno.remove(folder, { recursive: true });
  };
  try {
    await up();
  } catch (error) {
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
  return {
    ...handle(running!.url),
    cluster,
    get keeperPid() {
      return running?.child.pid ?? 0;
    },
    down,
    up,
    [Symbol.asyncDispose]: () => stopped ??= stop(),
  };
}

async function launch(folder: string, port: number): Promise<{ child: Child; url: string }> {
  const logFile = join(folder, "out.log");
  await Deno.remove(logFile).catch(() => {});
  const script = join(import.meta.dirname!, "postgres_child.ts");
  const child = startChild(Deno.execPath(), ["run", "-A", script, join(folder, "data"), String(port)], {
    logFile,
    cwd: join(import.meta.dirname!, "../.."),
  });
  let over = false;
  child.ended.then(() => over = true);
  for (const deadline = performance.now() + START_WITHIN_MS;;) {
    const log = await Deno.readTextFile(logFile).catch(() => "");
    const url = /^(postgres:\/\/.*)\n/m.exec(log)?.[1];
    if (url !== undefined) return { child, url };
    if (over || performance.now() > deadline) {
      const said = await lastLines(logFile);
      await child.stop();
      throw new Error(`PostgreSQL did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function killIfThere(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

function handle(url: string): Pick<TestPostgres, "url" | "database"> {
  return {
    url,
    database: async () => {
      const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
      const sql = postgresClient(url);
      try {
        await sql.unsafe(`create database ${name}`);
      } finally {
        await sql.end();
      }
      const own = new URL(url);
      own.pathname = `/${name}`;
      return own.href;
    },
  };
}
