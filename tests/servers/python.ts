/**
 * Programs from PyPI: each set of packages in a virtual environment of its own, made once in the cache by uv, which is there in
 * seconds where pip takes minutes.
 *
 * @module
 */
import { join } from "node:path";
import { cached, cacheFolder, isCached, output } from "./cache.ts";

const UV_VERSION = "0.13.9";
const UV_FOLDER = `uv-${UV_VERSION}`;
const FETCH_WITHIN_MS = 400_000;

export interface PythonSet {
  /** Of its folder in the cache: with the versions, so that others are made anew. */
  readonly name: string;
  /** As pip takes them, with their versions. */
  readonly packages: readonly string[];
}

/** Why these packages cannot be fetched on this machine, in words, as far as can be told before; null when they can. */
export async function whyNoPython({ name }: PythonSet): Promise<string | null> {
  if (await isCached(name)) return null;
  const python = await output("python3", ["-c", "import venv, ensurepip"]);
  return "why" in python ? `Python 3 with venv is not installed; it fetches ${name} the first time` : null;
}

/**
 * The path of a program in the set's environment, `python` or what its packages bring. Ask `whyNoPython` before.
 *
 * @throws Error with what uv or pip said, when they cannot be fetched
 */
export async function pythonProgram(set: PythonSet, program: string): Promise<string> {
  // Before, as what is cached is tried more than once.
  const uv = await isCached(set.name) ? "" : await fetchUv();
  const folder = await cached(set.name, async (folder) => {
    console.log(`fetching ${set.packages.join(", ")} into ${folder} (once)`);
    // What several sets have in common is fetched once.
    const env = { ...asForPip(), UV_CACHE_DIR: cacheFolder("uv-downloads"), UV_PYTHON_DOWNLOADS: "never" };
    await run(uv, ["venv", "--quiet", "--python", "python3", folder], env);
    await run(uv, ["pip", "install", "--quiet", "--python", join(folder, "bin", "python"), ...set.packages], env);
  });
  return join(folder, "bin", program);
}

async function fetchUv(): Promise<string> {
  const folder = await cached(UV_FOLDER, async (folder) => {
    await run("python3", ["-m", "venv", folder]);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `uv==${UV_VERSION}`];
    await run(join(folder, "bin", "python"), pip);
  });
  return join(folder, "bin", "uv");
}

/** Where pip was told to look for packages, told to uv, which does not read pip's settings. */
function asForPip(): Record<string, string> {
  const names = { PIP_INDEX_URL: "UV_DEFAULT_INDEX", PIP_CERT: "SSL_CERT_FILE" };
  return Object.fromEntries(
    Object.entries(names).flatMap(([pip, uv]) => {
      const value = Deno.env.get(uv) ?? Deno.env.get(pip);
      return value ? [[uv, value]] : [];
    }),
  );
}

async function run(program: string, args: readonly string[], env?: Record<string, string>): Promise<void> {
  const told = await output(program, args, { withinMs: FETCH_WITHIN_MS, env });
  if ("why" in told) throw new Error(`${program} ${args.join(" ")}: ${told.why.slice(-2_000)}`);
}
