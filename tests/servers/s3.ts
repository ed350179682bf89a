/**
 * Real servers that speak S3, for tests: versitygw, which keeps objects in a folder and checks signatures, and moto's, which keeps
 * them in memory and checks none. Fetched once into the cache.
 *
 * @module
 */
import { AwsClient } from "aws4fetch";
import { join } from "node:path";
import type { S3Options } from "../../pipeline/sinks/lake/s3/options.ts";
import { cached, isCached, output } from "./cache.ts";
import { type Child, lastLines, startChild } from "./child.ts";
import { freePort } from "./free_port.ts";
import { pythonProgram, whyNoPython } from "./python.ts";
import { MOTO, MOTO_VERSION } from "./python_sets.ts";

export type S3Program = "versitygw" | "moto";

/** Versions that are tried against. */
const VERSIONS: Readonly<Record<S3Program, string>> = { versitygw: "1.8.0", moto: MOTO_VERSION };
const VERSITYGW_FOLDER = `versitygw-${VERSIONS.versitygw}`;
const FETCH_WITHIN_MS = 400_000;
const START_WITHIN_MS = 180_000;

export interface S3Server extends AsyncDisposable {
  readonly program: S3Program;
  readonly version: string;
  readonly s3: S3Options;
  /** The folder in which versitygw keeps a bucket's objects, as they are; moto's is empty. */
  folderOf(bucket: string): string;
  /** Makes an empty bucket and returns its name. */
  bucket(): Promise<string>;
  /** SIGSTOP and SIGCONT: it is there and does not answer. */
  pause(): void;
  resume(): void;
  /** SIGKILL; what versitygw had taken stays, moto forgets. */
  kill(): Promise<void>;
  /** Starts it again, after `kill` or running, at the same address; resolves when it answers. */
  restart(): Promise<void>;
}

/** Why this server cannot run on this machine, in words; null when it can. */
export async function whyNoS3(program: S3Program): Promise<string | null> {
  if (program === "moto") return await whyNoPython(MOTO);
  if (await isCached(VERSITYGW_FOLDER)) return null;
  return "why" in await output("go", ["version"]) ? "Go is not installed; it fetches versitygw the first time" : null;
}

/** Starts a server on a free port, without a bucket, and resolves when it answers. Ask `whyNoS3` before. */
export async function startS3(
  program: S3Program,
  options: { readonly region?: string; readonly virtualHost?: string } = {},
): Promise<S3Server> {
  const installed = program === "moto" ? await pythonProgram(MOTO, "moto_server") : await fetchVersitygw();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-s3-" });
  const data = join(folder, "data");
  await Deno.mkdir(data);
  const port = freePort();
  const region = options.region ?? "us-east-1";
  const s3: S3Options = {
    endpoint: `http://127.0.0.1:${port}`,
    region,
    accessKeyId: "tailrace-test-key",
    secretAccessKey: "tailrace-test-secret",
    sessionToken: "",
    pathStyle: null,
  };
  const client = new AwsClient({ ...s3, sessionToken: undefined, service: "s3", retries: 0 });
  const logFile = join(folder, "out.log");
  const args = program === "moto" ? ["-H", "127.0.0.1", "-p", String(port)] : [
    ...["--port", `127.0.0.1:${port}`, "--access", s3.accessKeyId, "--secret", s3.secretAccessKey],
    ...["--region", region, "--quiet", "--keep-alive"],
    ...(options.virtualHost ? ["--virtual-domain", options.virtualHost] : []),
    ...["posix", data],
  ];
  let child: Child | null = null;
  const start = async () => {
    const started = child = startChild(installed, args, { logFile, cwd: folder });
    let isOver = false;
    started.ended.then(() => isOver = true);
    for (const deadline = performance.now() + START_WITHIN_MS;;) {
      const answer = await client.fetch(`${s3.endpoint}/`).catch(() => null);
      await answer?.body?.cancel();
      if (answer?.ok) return;
      if (isOver || performance.now() > deadline) {
        throw new Error(`${program} did not start:\n${await lastLines(logFile)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  };
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    // A paused process ends by nothing else.
    await child?.stop("SIGKILL");
    await Deno.remove(folder, { recursive: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    program,
    version: VERSIONS[program],
    s3,
    folderOf: (bucket) => join(data, bucket),
    bucket: async () => {
      const name = `test-${crypto.randomUUID()}`;
      const answer = await client.fetch(`${s3.endpoint}/${name}`, { method: "PUT" });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${program} makes no bucket: ${answer.status} ${text}`);
      return name;
    },
    pause: () => Deno.kill(child!.pid, "SIGSTOP"),
    resume: () => Deno.kill(child!.pid, "SIGCONT"),
    kill: async () => await child?.stop("SIGKILL"),
    restart: async () => {
      await child?.stop("SIGKILL");
      await start();
    },
    [Symbol.asyncDispose]: () => stopped ??= stop(),
  };
}

/** The path of versitygw, fetched when it is not there. */
export async function fetchVersitygw(): Promise<string> {
  const folder = await cached(VERSITYGW_FOLDER, async (folder) => {
    await Deno.mkdir(folder);
    const module = `github.com/versity/versitygw/cmd/versitygw@v${VERSIONS.versitygw}`;
    console.log(`fetching ${module} with Go into ${folder} (once)`);
    const built = await output("go", ["install", module], { env: { GOBIN: folder }, withinMs: FETCH_WITHIN_MS });
    if ("why" in built) throw new Error(`Go cannot install ${module}: ${built.why.split("\n").at(-1)}`);
  });
  return join(folder, "versitygw");
}
