/**
 * Other programs that read and write Delta tables, fetched once: delta-rs and DuckDB for Python, with an Avro decoder, and Spark with
 * Delta's own library.
 *
 * @module
 */
import { join } from "node:path";
import { cached, isCached, output } from "./cache.ts";
import { pythonProgram, whyNoPython } from "./python.ts";
import { LAKE_PYTHON } from "./python_sets.ts";

const SPARK_FOLDER = "spark-4.0.1-delta-4.0.0";
const FETCH_WITHIN_MS = 400_000;

/** What Spark needs of a JVM since 17, as Spark's own starter gives it. */
const OPENED = [
  "java.lang",
  "java.lang.invoke",
  "java.lang.reflect",
  "java.io",
  "java.net",
  "java.nio",
  "java.util",
  "java.util.concurrent",
  "java.util.concurrent.atomic",
  "sun.nio.ch",
  "sun.nio.cs",
  "sun.security.action",
  "sun.util.calendar",
].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);

/** A Python that has deltalake, pyarrow, duckdb and fastavro, fetched when it is not there; or why there is none. */
export async function lakePython(): Promise<{ readonly python: string } | { readonly why: string }> {
  const why = await whyNoPython(LAKE_PYTHON);
  if (why !== null) return { why };
  try {
    return { python: await pythonProgram(LAKE_PYTHON, "python") };
  } catch (error) {
    return { why: (error as Error).message };
  }
}

/** How to run a Java source file with Spark and Delta's library on its class path, fetched when they are not there; or why not. */
export async function sparkJava(): Promise<
  { readonly command: (source: string, ...args: readonly string[]) => string[] } | { readonly why: string }
> {
  const java = await output("java", ["-version"]);
  if ("why" in java) return { why: "Java is not installed; Spark needs Java 17" };
  if (!await isCached(SPARK_FOLDER) && "why" in await output("mvn", ["-v"])) {
    return { why: "Maven is not installed; it fetches Spark's jars the first time" };
  }
  try {
    const folder = await cached(SPARK_FOLDER, async (folder) => {
      console.log(`fetching Spark and delta-spark with Maven into ${folder} (once)`);
      const pom = join(import.meta.dirname!, "spark", "pom.xml");
      const copy = ["-B", "-q", "-f", pom, "dependency:copy-dependencies", `-DoutputDirectory=${folder}`];
      const fetched = await output("mvn", copy, { withinMs: FETCH_WITHIN_MS });
      if ("why" in fetched) throw new Error(`Maven cannot fetch Spark: ${fetched.why.split("\n")[0]}`);
    });
    const log = join(import.meta.dirname!, "spark", "log4j2.properties");
    return {
      command: (source, ...args) => [
        "java",
        ...["-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", `-Dlog4j2.configurationFile=${log}`],
        ...OPENED,
        ...["-cp", join(folder, "*"), source, ...args],
      ],
    };
  } catch (error) {
    return { why: (error as Error).message };
  }
}
