import assert from "node:assert/strict";
import { join } from "node:path";
import { takeLock } from "../pipeline/file_lock.ts";
import { temporaryFolder } from "./e2e/harness.ts";

Deno.test("a lock is one holder's until it lets go of it, or dies", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  {
    using first = await takeLock(path);
    assert.ok(first !== null);
    assert.equal(await takeLock(path), null);
  }
  const module = new URL("../pipeline/file_lock.ts", import.meta.url);
  const program = `
    const { takeLock } = await import(${JSON.stringify(module.href)});
    console.log(await takeLock(${JSON.stringify(path)}) !== null);
    await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const other = new Deno.Command(Deno.execPath(), { args: ["eval", program], stdout: "piped" }).spawn();
  const reader = other.stdout.getReader();
  try {
    assert.equal(new TextDecoder().decode((await reader.read()).value).trim(), "true");
    assert.equal(await takeLock(path), null);
  } finally {
    other.kill("SIGKILL");
    await other.status;
    await reader.cancel();
  }
  using next = await takeLock(path);
  assert.ok(next !== null);
});

Deno.test("a lock is let go of though a child process is being started meanwhile", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  // Another thread: here the start of a process would end before the next line.
  const starter = new Worker(
    URL.createObjectURL(
      new Blob([
        // One at a time: so many at once leave the other tests of this machine no time.
        'for (;;) { await new Deno.Command("true").output(); postMessage(0); ',
        "await new Promise((resolve) => setTimeout(resolve, 1)); }",
      ]),
    ),
    { type: "module" },
  );
  try {
    await new Promise((resolve) => starter.onmessage = resolve);
    for (let times = 0; times < 3_000; times++) {
      using lock = await takeLock(path);
      assert.ok(lock !== null, `the ${times}th time`);
    }
  } finally {
    starter.terminate();
  }
});
