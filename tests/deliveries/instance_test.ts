import assert from "node:assert/strict";
import { takeInstance } from "../../pipeline/deliveries/instance.ts";
import { temporaryFolder } from "../broker/kafka/support.ts";

Deno.test("processes with one folder have places of their own, and one that comes back has the place of the one that is gone", async () => {
  using folder = temporaryFolder();
  const [first, second] = await Promise.all([takeInstance(folder.path, "out"), takeInstance(folder.path, "out")]);
  assert.notEqual(first!.id, second!.id);
  using other = await takeInstance(folder.path, "other");
  assert.match(other!.id, /^[\da-f-]{36}\.0$/);
  first![Symbol.dispose]();
  using again = await takeInstance(folder.path, "out");
  assert.equal(again!.id, first!.id);
  second![Symbol.dispose]();
});

Deno.test("a lock ends with its process, also with one that is killed; another folder has other names", async () => {
  using folder = temporaryFolder();
  const code = `import { takeInstance } from ${
    JSON.stringify(import.meta.resolve("../../pipeline/deliveries/instance.ts"))
  };
    const { id } = await takeInstance(${JSON.stringify(folder.path)}, "out");
    console.log(id);
    await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", code], stdout: "piped" }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const id = new TextDecoder().decode(value).trim();
  {
    using beside = await takeInstance(folder.path, "out");
    assert.notEqual(beside!.id, id);
  }
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  using heir = await takeInstance(folder.path, "out");
  assert.equal(heir!.id, id);
  using elsewhere = temporaryFolder();
  using another = await takeInstance(elsewhere.path, "out");
  assert.notEqual(another!.id, id);
});
