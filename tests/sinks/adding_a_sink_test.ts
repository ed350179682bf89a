/**
 * Runs the code of docs/adding-a-sink.md: its blocks together are a module as if in that folder, with the tests in it.
 *
 * @module
 */
import assert from "node:assert/strict";

const DOCS = new URL("../../docs/", import.meta.url);

Deno.test("the sink of docs/adding-a-sink.md type-checks and meets the contract", async () => {
  const page = await Deno.readTextFile(new URL("adding-a-sink.md", DOCS));
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.equal(blocks.length, 2);
  const folder = await Deno.makeTempDir({ prefix: "tailrace-docs-" });
  const file = `${folder}/adding_a_sink.ts`;
  await Deno.writeTextFile(file, blocks.join("\n").replaceAll(`from "../`, `from "${new URL("../", DOCS)}`));
  try {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--allow-all", "--quiet", "--config", new URL("../deno.json", DOCS).pathname, file],
      env: { NO_COLOR: "1" },
    }).output();
    const report = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.ok(success, report);
    const passed = Number(/(\d+) passed/.exec(report)?.[1] ?? 0);
    assert.ok(passed >= 14, report);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
