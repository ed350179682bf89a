import assert from "node:assert/strict";
import type { AuditEntry } from "../../api/security/audit.ts";
import { AUDIT_FILES_MAX, AuditFile } from "../../api/security/audit_file.ts";
import { UnavailableError } from "../../pipeline/errors.ts";

function entry(n: number): AuditEntry {
  return {
    time: new Date(n).toISOString(),
    who: "ada",
    role: "operator",
    from: "127.0.0.1",
    method: "POST",
    path: `/v1/${n}`,
    status: 201,
  };
}

const paths = (entries: readonly AuditEntry[]) => entries.map(({ path }) => path);

Deno.test("entries are lines of JSON, appended in order and read newest first, by a later process too", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/audit.log`;
  const log = new AuditFile(path);
  await Promise.all([1, 2, 3].map((n) => log.append(entry(n))));
  await log.append(entry(4));
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [1, 2, 3, 4].map(entry));
  await Deno.writeTextFile(path, '{"time":"half writ', { append: true });
  const later = new AuditFile(path);
  assert.deepEqual(paths(await later.read(3)), ["/v1/4", "/v1/3", "/v1/2"]);
  if (Deno.build.os !== "windows") assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a line that a crash cut short takes no later entry with it", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/audit.log`;
  await new AuditFile(path).append(entry(1));
  await Deno.writeTextFile(path, '{"time":"half writ', { append: true });
  const later = new AuditFile(path);
  await later.append(entry(2));
  assert.deepEqual(paths(await later.read(5)), ["/v1/2", "/v1/1"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a full file gives way to a new one, and the number of files is bounded", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/audit.log`;
  const log = new AuditFile(path, { bytesMax: 300 });
  for (let n = 0; n < 40; n++) await log.append(entry(n));
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  assert.deepEqual(names, [
    "audit.log",
    ...Array.from({ length: AUDIT_FILES_MAX - 1 }, (_, i) => `audit.log.${i + 1}`),
  ]);
  for (const name of names) assert.ok(Deno.statSync(`${folder}/${name}`).size <= 300, name);
  const read = paths(await log.read(1_000));
  assert.deepEqual(read, Array.from({ length: read.length }, (_, i) => `/v1/${39 - i}`));
  assert.ok(read.length >= 2 * (AUDIT_FILES_MAX - 1));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("an entry that cannot be written is told, and no further action is let through until it is", async () => {
  const folder = await Deno.makeTempDir();
  const told: string[] = [];
  const log = new AuditFile(`${folder}/gone/audit.log`, { onFailure: (message) => told.push(message) });
  await log.ready();
  await log.append(entry(7));
  assert.match(told[0], /the audit log cannot be written .*"path":"\/v1\/7"/);
  await assert.rejects(log.ready(), UnavailableError);
  await Deno.mkdir(`${folder}/gone`);
  await log.ready();
  await log.append(entry(8));
  assert.deepEqual(paths(await log.read(9)), ["/v1/8", "/v1/7"]);
  await Deno.remove(folder, { recursive: true });
});
