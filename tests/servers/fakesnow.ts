/**
 * fakesnow, which speaks Snowflake's SQL over a DuckDB of its own: in a process, fetched once into the cache.
 *
 * @module
 */
import { ConfigError } from "../../pipeline/errors.ts";
import type { SnowflakeConnection } from "../../pipeline/sinks/snowflake/upload.ts";
import { pythonProgram, whyNoPython } from "./python.ts";
import { FAKESNOW } from "./python_sets.ts";

/** Why it cannot run on this machine, in words; null when it can. */
export const whyNoFakesnow = (): Promise<string | null> => whyNoPython(FAKESNOW);

/** fakesnow merges outside of transactions only, so these are left out: each statement is committed by itself; its sessions are in UTC. */
const LEFT_OUT: ReadonlySet<string> = new Set(["BEGIN", "COMMIT", "ROLLBACK", "ALTER SESSION SET TIMEZONE = 'UTC'"]);

/** Starts it with an empty database; statements go in one by one. */
export async function startFakesnow(): Promise<SnowflakeConnection & { readonly statements: readonly string[] }> {
  const child = new Deno.Command(await pythonProgram(FAKESNOW, "python"), {
    args: [new URL("./run_fakesnow.py", import.meta.url).pathname],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = child.stdin.getWriter();
  const answers = child.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  const statements: string[] = [];
  let rest = "";
  const line = async (): Promise<string> => {
    while (!rest.includes("\n")) {
      const { done, value } = await answers.next();
      if (done) throw new Error("fakesnow has ended");
      rest += value;
    }
    const end = rest.indexOf("\n");
    const found = rest.slice(0, end);
    rest = rest.slice(end + 1);
    return found;
  };
  return {
    statements,
    execute: async (sql) => {
      statements.push(sql);
      if (LEFT_OUT.has(sql)) return [];
      await input.write(new TextEncoder().encode(`${JSON.stringify(sql)}\n`));
      const answer = JSON.parse(await line()) as { rows?: Record<string, unknown>[]; error?: string };
      if (answer.error !== undefined) throw new ConfigError({ where: "snowflake", problem: `${answer.error}\n${sql}` });
      return answer.rows ?? [];
    },
    [Symbol.asyncDispose]: async () => {
      await input.close();
      for (let end = await answers.next(); !end.done; end = await answers.next());
      await child.status;
    },
  };
}
