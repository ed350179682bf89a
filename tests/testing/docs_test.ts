/**
 * Runs the code of docs/testing.md: its blocks together are a test module as if in tests/.
 *
 * @module
 */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

Deno.test("the tests of docs/testing.md type-check and pass", async () => {
  const page = await Deno.readTextFile(new URL("docs/testing.md", ROOT));
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  const tests = blocks.join("\n").match(/Deno\.test\(/g)!.length;
  const folder = await Deno.makeTempDir({ prefix: "tailrace-docs-" });
  const file = `${folder}/testing_test.ts`;
  await Deno.writeTextFile(file, blocks.join("\n").replaceAll(`from "../`, `from "${ROOT}`));
  try {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--allow-all", "--quiet", "--config", new URL("deno.json", ROOT).pathname, file],
      env: { NO_COLOR: "1" },
    }).output();
    const report = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.ok(success, report);
    // One of them is written in a loop of two.
    assert.match(report, new RegExp(`${tests + 1} passed`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("docs/testing.md names every step and every question of a test pipeline", async () => {
  const page = await Deno.readTextFile(new URL("docs/testing.md", ROOT));
  const { TestPipeline } = await import("../../pipeline/testing/mod.ts");
  const names = Object.getOwnPropertyNames(TestPipeline.prototype).filter((name) => name !== "constructor");
  assert.ok(names.length > 12);
  for (const name of names) assert.ok(page.includes(`${name}(`), `${name} is not in docs/testing.md`);
});
