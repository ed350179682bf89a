/**
 * Asks other programs for the rows of tables: delta-rs and DuckDB in Python, and Spark. A program is started once for many questions,
 * because Spark takes seconds to start.
 *
 * @module
 */
import { join } from "node:path";
import type { TableRow } from "../../lake/rows.ts";
import { output } from "../../servers/cache.ts";
import { lakePython, sparkJava } from "../../servers/lake_readers.ts";

export type ReaderName = "delta-rs" | "duckdb" | "spark";

export interface Question {
  /** The table's folder. */
  readonly table: string;
  /** Null for the newest. */
  readonly version: number | null;
}

export interface Answer {
  readonly version: number;
  readonly rows: readonly TableRow[];
}

const PYTHON_WITHIN_MS = 300_000;
/** Twenty seconds on two processors of its own; there are slower machines, and tests beside it. */
const SPARK_WITHIN_MS = 600_000;

/** Readers that there are on this machine; says why the others are not. */
export async function availableReaders(): Promise<ReaderName[]> {
  const [python, spark] = [await lakePython(), await sparkJava()];
  if ("why" in python) console.log(`delta-rs and Python's DuckDB are not tried: ${python.why}`);
  if ("why" in spark) console.log(`Spark is not tried: ${spark.why}`);
  return [...("why" in python ? [] : ["delta-rs", "duckdb"] as const), ...("why" in spark ? [] : ["spark"] as const)];
}

/** The answers of one reader, in the order of the questions. @throws with what it said, when it cannot read a table */
export async function ask(reader: ReaderName, questions: readonly Question[], folder: string): Promise<Answer[]> {
  const own = await Deno.makeTempDir({ dir: folder, prefix: `${reader}-` });
  const asked = questions.map((question, i) => ({ ...question, by: reader, out: join(own, `${i}.ndjson`) }));
  const file = join(own, "questions.json");
  await Deno.writeTextFile(file, JSON.stringify(asked));
  const [program, ...args] = await command(reader, file, own);
  const withinMs = reader === "spark" ? SPARK_WITHIN_MS : PYTHON_WITHIN_MS;
  const said = await output(program, args, { withinMs });
  if ("why" in said) throw new Error(`${reader} cannot read: ${said.why.slice(-4_000)}`);
  return await Promise.all(asked.map(async ({ out }) => {
    const [head, ...rows] = (await Deno.readTextFile(out)).trimEnd().split("\n");
    const { version, rows: count } = JSON.parse(head);
    if (count !== rows.length) throw new Error(`${reader} wrote ${rows.length} rows of ${count}`);
    return { version, rows: rows.map((row) => JSON.parse(row)) };
  }));
}

async function command(reader: ReaderName, questions: string, folder: string): Promise<string[]> {
  const here = import.meta.dirname!;
  if (reader === "spark") {
    const spark = await sparkJava();
    if ("why" in spark) throw new Error(spark.why);
    return spark.command(join(here, "ReadTables.java"), questions, join(folder, "warehouse"));
  }
  const python = await lakePython();
  if ("why" in python) throw new Error(python.why);
  return [python.python, join(here, "read_tables.py"), questions];
}
