import assert from "node:assert/strict";
import { exportFile } from "../../cli/export.ts";
import { createLogger } from "../../cli/log.ts";

/** An API that gives this body, and says that it has so many bytes. */
function serve(answer: () => Response): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
}

async function exported(url: string, flags: Record<string, string>, positionals = ["visits"]): Promise<string> {
  const said: string[] = [];
  const log = console.log;
  console.log = (text: string) => void said.push(text);
  try {
    const signal = new AbortController().signal;
    await exportFile({ flags: { api: url, ...flags }, positionals, signal, log: createLogger() });
  } finally {
    console.log = log;
  }
  return said.join("\n");
}

const urlOf = (server: Deno.HttpServer<Deno.NetAddr>) => `http://127.0.0.1:${server.addr.port}`;
const filesIn = (folder: string) => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();

Deno.test("an export takes the place of the file that was there, and says how many rows it has", async () => {
  const folder = await Deno.makeTempDir();
  let asked = "";
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked = new URL(request.url).search;
    return new Response("n\n1\n", { headers: { "content-length": "4", "tailrace-rows": "1234" } });
  });
  try {
    const out = `${folder}/visits.csv`;
    await Deno.writeTextFile(out, "old");
    const said = await exported(urlOf(server), { out, from: "2026-05-01" });
    assert.equal(await Deno.readTextFile(out), "n\n1\n");
    assert.equal(said, `1,234 rows, 4 B: ${out}`);
    assert.equal(asked, "?format=csv&pipeline=visits&from=2026-05-01");
    assert.deepEqual(filesIn(folder), ["visits.csv"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("an export that breaks off, or is refused, leaves what was there and nothing else", async () => {
  const folder = await Deno.makeTempDir();
  const half = () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(1_000)),
      pull: (controller) => controller.error(new Error("the disk is gone")),
    });
    return new Response(body, { headers: { "content-length": "2000" } });
  };
  const problem = (status: number) => () =>
    Response.json({ title: "No", detail: "its results go to no table" }, { status });
  try {
    const out = `${folder}/visits.parquet`;
    await Deno.writeTextFile(out, "old");
    for (
      const [answer, name, message] of [
        [half, "UnavailableError", /was not written|broke off/],
        [problem(404), "ConfigError", /its results go to no table/],
        [problem(503), "UnavailableError", /its results go to no table/],
      ] as const
    ) {
      await using server = serve(answer);
      await assert.rejects(exported(urlOf(server), { out }), (error: Error) => {
        assert.equal(error.name, name, error.stack);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(filesIn(folder), ["visits.parquet"]);
      assert.equal(await Deno.readTextFile(out), "old");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("an export asks for one thing, in a format that there is, into a place that can be written", async () => {
  await using server = serve(() => new Response("", { headers: { "content-length": "0", "tailrace-rows": "0" } }));
  const url = urlOf(server);
  await assert.rejects(exported(url, {}, []), /name one PIPELINE, or --table NAME/);
  await assert.rejects(exported(url, { table: "t" }), /name one PIPELINE, or --table NAME/);
  await assert.rejects(exported(url, { format: "xlsx" }), /must be parquet or csv, not "xlsx"/);
  await assert.rejects(exported(url, { out: "/nowhere/at/all.csv" }), /--out .*cannot be written/);
});
