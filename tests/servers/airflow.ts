/**
 * Apache Airflow, fetched once into the cache, with a database of its own in a folder.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { output } from "./cache.ts";
import { pythonProgram, whyNoPython } from "./python.ts";
import { AIRFLOW } from "./python_sets.ts";

/** Why it cannot run on this machine, in words; null when it can. */
export const whyNoAirflow = (): Promise<string | null> => whyNoPython(AIRFLOW);

export interface Airflow {
  /** Runs `airflow ARGS`, or Python with `-c CODE`. @throws Error with what it printed when it fails */
  airflow(args: readonly string[]): Promise<string>;
  python(code: string): Promise<string>;
}

/** An Airflow whose home is `home` and whose DAGs are in `dags`; tasks have `env` besides. */
export async function startAirflow(
  { home, dags, env }: { readonly home: string; readonly dags: string; readonly env: Record<string, string> },
): Promise<Airflow> {
  const programs = dirname(await pythonProgram(AIRFLOW, "airflow"));
  const around = {
    ...env,
    PATH: `${programs}:${Deno.env.get("PATH")}`,
    AIRFLOW_HOME: home,
    AIRFLOW__CORE__DAGS_FOLDER: dags,
    AIRFLOW__CORE__LOAD_EXAMPLES: "False",
  };
  const run = async (program: string, args: readonly string[]) => {
    const told = await output(join(programs, program), args, { withinMs: 1_200_000, env: around });
    if ("why" in told) throw new Error(`${program} ${args.join(" ").slice(0, 200)}\n${told.why.slice(-4_000)}`);
    return told.stdout;
  };
  await run("airflow", ["db", "migrate"]);
  return { airflow: (args) => run("airflow", args), python: (code) => run("python", ["-c", code]) };
}
