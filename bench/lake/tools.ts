/**
 * The programs that rows are also appended with: a Python that has deltalake, pyarrow and fastavro, and Spark's jars with Delta's. The
 * integration tests fetch both; they are looked for where those keep them, unless they are named.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { projectPath } from "../../cli/paths.ts";

const FETCH_HINT = "deno task test:integration fetches it";
/** What Spark needs of a JVM since 17. */
const OPENED = [
  ...["lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util", "util.concurrent", "util.concurrent.atomic"]
    .map((name) => `java.${name}`),
  ...["nio.ch", "nio.cs", "security.action", "util.calendar"].map((name) => `sun.${name}`),
].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);

/** Words of a command that takes TARGET and what it appends, or why there is none. */
export type Appender = { readonly command: readonly string[] } | { readonly why: string };

/**
 * Takes TARGET PARTITION_COLUMN FILE...
 *
 * @param python a program, instead of the one in the cache
 * @param compression as delta-rs names it
 */
export function deltaRs(python?: string, compression = "ZSTD"): Promise<Appender> {
  return inPython(["bench/lake/append_delta_rs.py", compression], python);
}

/** Takes TARGET SCHEMA VALUES APPENDS, the values as `writeValues` has them. @param python as for `deltaRs` */
export function deltaRsFromLog(python?: string): Promise<Appender> {
  return inPython(["bench/lake/append_log_delta_rs.py"], python);
}

async function inPython([script, ...words]: readonly string[], python?: string): Promise<Appender> {
  const folder = python === undefined ? await inCache(/^lake-python-/) : null;
  const program = python ?? (folder && join(folder, "bin", "python"));
  if (program === null) return { why: `no Python with deltalake: ${FETCH_HINT}, or name one with --python` };
  return { command: [program, projectPath(script), ...words] };
}

/**
 * Takes TARGET PARTITION_COLUMN FILE...
 *
 * @param jars a folder, instead of the one in the cache
 */
export async function spark(jars?: string): Promise<Appender> {
  const folder = jars ?? await inCache(/^spark-.*-delta-/);
  if (folder === null) return { why: `no Spark with Delta's library: ${FETCH_HINT}, or name a folder with --spark` };
  const options = ["-Xmx4g", ...OPENED, "-cp", join(folder, "*")];
  return { command: ["java", ...options, projectPath("bench/lake/AppendSpark.java")] };
}

/** Of several the one whose name is last, which an older one may be the beginning of. */
async function inCache(name: RegExp): Promise<string | null> {
  const cache = Deno.env.get("TAILRACE_CACHE") || projectPath("tests/servers/.cache");
  try {
    const entries = await Array.fromAsync(Deno.readDir(cache));
    const found = entries.filter((entry) => entry.isDirectory && name.test(entry.name)).map((entry) => entry.name);
    const last = found.sort().at(-1);
    return last === undefined ? null : join(cache, last);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return null;
  }
}

/** How long it took, and how many rows it says; or why it did not. */
export type Appended =
  | {
    readonly rows: number;
    readonly seconds: number;
    readonly cpu_seconds?: number;
    /** Of the seconds, where values of the log are appended: those that made columns of them. */
    readonly decode_seconds?: number;
  }
  | { readonly why: string };

/** Appends to a new table; `words` are what the tool takes after the target. */
export async function append(
  tool: Appender,
  options: { readonly target: string; readonly words: readonly string[] },
): Promise<Appended> {
  if ("why" in tool) return tool;
  await Deno.mkdir(dirname(options.target), { recursive: true });
  const { success, stdout, stderr } = await new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$@"', "sh", ...tool.command, options.target, ...options.words],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  if (success) return JSON.parse(text.decode(stdout));
  return { why: text.decode(stderr).trim().split("\n").slice(-3).join(" ") };
}
