import { fileURLToPath } from "node:url";

/** Another program that writes the same rows. */
export interface Rival extends AsyncDisposable {
  readonly pid: number;
  /** The seconds that it took to write `count` rows from `from` on. */
  write(options: {
    readonly from: number;
    readonly count: number;
    /** Of one request, and requests under way at a time, where the program leaves it to us. */
    readonly rowsPerRequest?: number;
    readonly requests?: number;
  }): Promise<number>;
}

/** Parts of Java's own that Spark looks into. */
const SPARK_OPENS = [
  ...[
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
  ],
  ...["sun.nio.ch", "sun.security.action"],
].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);

/** The Java driver, of which these are the jars. */
export function startJavaDriver(jars: string, args: readonly string[]): Promise<Rival> {
  return start({ jars, file: "InsertProfiles.java", flags: ["-Xmx512m"], args });
}

/** Spark with its connector, of which these are the jars. */
export function startSparkConnector(jars: string, args: readonly string[]): Promise<Rival> {
  return start({ jars, file: "spark/InsertProfilesBySpark.java", flags: ["-Xmx1g", ...SPARK_OPENS], args });
}

/** Starts one of the programs beside this file, which says "ready" and then answers each line with its seconds. */
async function start(
  { jars, file, flags, args }: {
    readonly jars: string;
    readonly file: string;
    readonly flags: readonly string[];
    readonly args: readonly string[];
  },
): Promise<Rival> {
  const source = fileURLToPath(new URL(file, import.meta.url));
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$@"', "sh", "java", ...flags, "-cp", `${jars}/*`, source, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const lines = linesOf(child.stdout);
  const writer = child.stdin.getWriter();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${file} ended (its jars are looked for in ${jars})`);
    return value;
  };
  while (await next() !== "ready");
  return {
    pid: child.pid,
    async write({ from, count, rowsPerRequest = 1, requests = 1 }) {
      await writer.write(new TextEncoder().encode(`${from} ${count} ${rowsPerRequest} ${requests}\n`));
      return Number(await next());
    },
    async [Symbol.asyncDispose]() {
      await writer.close();
      await lines.return();
      await child.status;
    },
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as never) as ReadableStream<string>) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
