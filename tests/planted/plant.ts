/**
 * Shows that the checks check: breaks the sources on purpose, in a copy, one way after the other, and looks whether the simulation
 * (or, for what lies below it, a test) finds out.
 *
 * @module
 */
import { type Fault, FAULTS } from "./faults.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** What a copy needs; packages are shared. */
const PARTS = [
  "api",
  "broker",
  "cli",
  "migrations",
  "pipeline",
  "schemas",
  "streams",
  "tests",
  "deno.json",
  "deno.lock",
  "main.ts",
];

export interface PlantOptions {
  /** Only faults with this in their names. */
  readonly only?: string;
  /** Instead of all. */
  readonly faults?: readonly Fault[];
  /** Seeds tried for a fault that the simulation has to catch. */
  readonly seeds: number;
  readonly log?: (line: string) => void;
}

/** Plants every fault; true when each was caught, and the sources as they are were not accused of anything. */
export async function plantAll(options: PlantOptions): Promise<boolean> {
  const { only = "", seeds, log = console.log } = options;
  const faults = (options.faults ?? FAULTS).filter(({ name }) => name.includes(only));
  if (faults.length === 0) throw new Error(`No planted fault has "${only}" in its name`);
  await using copy = await copyTree();
  const sound = await copy.simulate(seeds);
  if (sound !== null) {
    log(`The sources as they are fail, so nothing can be shown: ${sound}`);
    return false;
  }
  let caught = 0;
  for (const fault of faults) {
    const found = await copy.with(fault, () => fault.test ? copy.test(fault.test) : copy.simulate(seeds));
    if (found !== null) caught++;
    log(`${found === null ? "NOT CAUGHT" : "caught"}  ${fault.name}${found === null ? "" : `  (${found})`}`);
  }
  log(`${caught} of ${faults.length} planted faults caught`);
  return caught === faults.length;
}

/** A copy of the tree to break. */
async function copyTree() {
  const folder = await Deno.makeTempDir({ prefix: "tailrace_planted_" });
  // PostgreSQL runs as a user of its own, who has to get in.
  await Deno.chmod(folder, 0o755);
  for (const part of PARTS) await copyPart(`${ROOT}${part}`, `${folder}/${part}`);
  await Deno.symlink(`${ROOT}node_modules`, `${folder}/node_modules`);
  const run = async (args: readonly string[]) => {
    const command = new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdout: "piped",
      stderr: "piped",
    });
    const { code, stdout, stderr } = await command.output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  };
  return {
    /** What the first failing seed says; null when none fails. */
    simulate: async (seeds: number): Promise<string | null> => {
      const args = ["run", "-A", "--no-check", "tests/simulation/main.ts", "--first", "--seeds", String(seeds)];
      const { code, text } = await run(args);
      if (code === 0) return null;
      const said = /^seed (\d+) failed: (.*)$/m.exec(text);
      if (said === null) throw new Error(`The simulation did not run: ${text.slice(-2_000)}`);
      return `deno task sim --seed ${said[1]}: ${said[2].slice(0, 120)}`;
    },
    /** What of a test file fails; null when nothing does. */
    test: async ({ file, filter = "" }: NonNullable<Fault["test"]>): Promise<string | null> => {
      const { code, text } = await run(["test", "-A", "--no-check", "--fail-fast", "--filter", filter, file]);
      if (code === 0) return null;
      const failed = /^(.*) \.\.\. FAILED/m.exec(text);
      if (failed === null) throw new Error(`${file} did not run: ${text.slice(-2_000)}`);
      return `deno test -A ${file}: ${failed[1]}`;
    },
    /** Breaks the copy, and mends it again. */
    with: async <T>({ name, file, find, replace }: Fault, work: () => Promise<T>): Promise<T> => {
      const path = `${folder}/${file}`;
      const sound = await Deno.readTextFile(path);
      const places = sound.split(find).length - 1;
      if (places !== 1) throw new Error(`Cannot plant "${name}": ${file} has its text ${places} times: ${find}`);
      await Deno.writeTextFile(path, sound.replace(find, () => replace));
      try {
        return await work();
      } finally {
        await Deno.writeTextFile(path, sound);
      }
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function copyPart(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) await copyPart(`${from}/${name}`, `${to}/${name}`);
}
