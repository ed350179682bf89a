import assert from "node:assert/strict";
import { KeyFile, readKeys } from "../../api/security/key_file.ts";
import { keyId, newKey, verifyKey } from "../../api/security/keys.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { runToEnd, temporaryFolder, until } from "../e2e/harness.ts";

async function tailraceKey(folder: string, ...args: string[]) {
  return await runToEnd(["key", ...args, "--data", folder]);
}

Deno.test("a key is printed once, kept as a hash only, listed without it and removed by name or id", async () => {
  await using folder = temporaryFolder();
  const made = await tailraceKey(folder.path, "new", "--role", "operator", "--name", "ada");
  assert.equal(made.code, 0, made.stderr);
  const text = made.stdout.trim();
  assert.match(text, /^trk_[0-9a-f]{16}_[\w-]{43}$/);
  const file = `${folder.path}/api-keys.json`;
  const kept = await Deno.readTextFile(file);
  assert.ok(!kept.includes(text.slice(-43)));
  if (Deno.build.os !== "windows") assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
  const keys = (await readKeys(file))!;
  assert.deepEqual((await verifyKey(text, keys))?.name, "ada");

  const second = await tailraceKey(folder.path, "new", "--role", "viewer");
  assert.notEqual(second.stdout.trim(), text);
  const list = await tailraceKey(folder.path, "list");
  assert.match(list.stdout, new RegExp(`^${keyId(text)} +operator .* ada$`, "m"));
  assert.ok(!list.stdout.includes(text.slice(-43)));

  const again = await tailraceKey(folder.path, "new", "--role", "viewer", "--name", "ada");
  assert.equal(again.code, 2);
  assert.match(again.stderr, /--name: there is a key named "ada" already/);
  assert.equal((await tailraceKey(folder.path, "remove", "ada")).code, 0);
  const gone = await tailraceKey(folder.path, "remove", keyId(text)!);
  assert.equal(gone.code, 2);
  assert.match(gone.stderr, /there is no key/);
  const last = await tailraceKey(folder.path, "remove", keyId(second.stdout.trim())!);
  assert.match(last.stderr, /No key is left, so nobody is let in/);
  assert.deepEqual(await readKeys(file), []);
});

Deno.test("what key cannot do is told with code 2", async () => {
  await using folder = temporaryFolder();
  for (
    const [args, told] of [
      [[], /say what to do: key new, key list, key remove ID/],
      [["make"], /there is no "key make"/],
      [["new"], /--role: is needed: viewer, operator, admin/],
      [["new", "--role", "root"], /--role: "root" is no role: viewer, operator, admin/],
      [["new", "--role", "admin", "--name", "a\nb"], /--name: must be 1 to 100 characters/],
      [["remove"], /name a key by its id or name/],
      [["list", "all"], /"all" is not expected/],
    ] as const
  ) {
    const { code, stdout, stderr } = await tailraceKey(folder.path, ...args);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, told);
  }
});

Deno.test("another address than loopback needs a key, and says so with everything else that is in the way", async () => {
  await using folder = temporaryFolder();
  using taken = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const args = ["--host", "0.0.0.0", "--data", folder.path, "--port", String(port)];
  const { code, stderr } = await runToEnd([
    "dev",
    ...args,
    ...["--broker-port", "0", "--registry-port", "0", "--postgres-port", "0"],
  ]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /^2 things have to be mended/m);
  assert.match(stderr, /--host \(TAILRACE_HOST\): 0\.0\.0\.0 is reached from other machines and there is no API key/);
  assert.match(stderr, new RegExp(`port ${port} is taken`));
});

Deno.test("a file of keys that is broken, or that others may write, is refused by name", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/keys.json`;
  const { stored } = await newKey({ name: "a", role: "viewer", nowMs: 0 });
  const whole = { version: 1, keys: [stored] };
  for (
    const content of [
      "",
      "{",
      "[]",
      JSON.stringify({ ...whole, version: 2 }),
      JSON.stringify({ ...whole, more: 1 }),
      JSON.stringify({ version: 1, keys: [{ ...stored, role: "root" }] }),
      JSON.stringify({ version: 1, keys: [{ ...stored, hash: "short" }] }),
    ]
  ) {
    await Deno.writeTextFile(path, content);
    await assert.rejects(readKeys(path), (error) => error instanceof ConfigError && error.message.includes(path));
  }
  await Deno.writeTextFile(path, JSON.stringify(whole));
  assert.deepEqual(await readKeys(path), [stored]);
  if (Deno.build.os === "windows") return;
  await Deno.chmod(path, 0o666);
  await assert.rejects(readKeys(path), /may be changed by other users.*chmod 600/);
});

Deno.test("a running Tailrace sees keys come and go; once there was one, none means nobody", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/keys.json`;
  const store = new KeyFile(path);
  assert.equal(await store.keys(), null);
  const { stored } = await newKey({ name: "a", role: "viewer", nowMs: 0 });
  await Deno.writeTextFile(path, JSON.stringify({ version: 1, keys: [stored] }));
  await until("the key is seen", async () => (await store.keys())?.length === 1, 3_000);
  await Deno.writeTextFile(path, "{");
  await until("the fault is seen", () => store.keys().then(() => false, (e) => e instanceof UnavailableError), 3_000);
  await Deno.remove(path);
  await until("the file is gone", () => store.keys().then((keys) => keys?.length === 0, () => false), 3_000);
});
