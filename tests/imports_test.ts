import assert from "node:assert/strict";
import { join, relative } from "node:path";

const ROOT = new URL("../", import.meta.url).pathname;

/** What the files of a folder may not import, as docs/architecture.md has it. */
const RULES: readonly { readonly of: RegExp; readonly not: RegExp }[] = [
  { of: /^streams\//, not: /^(?!pipeline\/mod\.ts$)/ },
  { of: /^pipeline\//, not: /^(api|broker|cli|bench|streams|tests)\// },
  { of: /^pipeline\/log\//, not: /^pipeline\/(sinks|sources|letters|checkpoint|runtime|testing)\// },
  { of: /^pipeline\/sinks\//, not: /^pipeline\/(sources|letters|checkpoint|runtime|testing)\// },
  { of: /^pipeline\/(?!testing\/)/, not: /^pipeline\/testing\// },
  { of: /^api\//, not: /^(broker|cli|bench|streams|tests)\// },
  { of: /^broker\//, not: /^(api|cli|bench|streams|tests)\// },
  { of: /^(?!pipeline\/log\/)/, not: /^(npm:)?(kafkajs|@platformatic\/kafka|@kafkajs\/)/ },
  { of: /^(?!pipeline\/(plan|sources|audit|sinks\/lake)\/|api\/sql\/)/, not: /^(npm:)?@duckdb\// },
];

function* sources(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, folder))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* sources(path);
    else if (/\.tsx?$/.test(name)) yield path;
  }
}

/** Paths from the root, and names of packages. */
function importsOf(path: string): string[] {
  const text = Deno.readTextFileSync(join(ROOT, path));
  const found = text.matchAll(/^(?:import|export)\b[^;"]*?from "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"\)/gm);
  return Array.from(found, ([, from, bare, dynamic]) => from ?? bare ?? dynamic)
    .map((name) => name.startsWith(".") ? relative(ROOT, join(ROOT, path, "..", name)) : name);
}

Deno.test("imports point one way", () => {
  const faults: string[] = [];
  let imports = 0;
  for (const path of ["streams", "pipeline", "api", "broker", "cli"].flatMap((folder) => [...sources(folder)])) {
    for (const name of importsOf(path)) {
      imports++;
      if (RULES.some(({ of, not }) => of.test(path) && not.test(name))) faults.push(`${path} imports ${name}`);
    }
  }
  assert.ok(imports > 1_000, `${imports} imports were looked at`);
  assert.deepEqual(faults, []);
});

Deno.test("clients of PostgreSQL are made in one place, with the options none may lack", () => {
  // The second one takes over the options of a client that is there.
  const places = ["pipeline/postgres_client.ts", "pipeline/sinks/postgres_own_connection.ts"];
  const found = ["pipeline", "api", "broker", "cli", "deploy", "bench", "tests"]
    .flatMap((folder) => [...sources(folder)])
    .filter((path) =>
      /^(?:import|export) (?!type )[^;]*? from "postgres"|\bimport\("postgres"\)/m.test(
        Deno.readTextFileSync(join(ROOT, path)),
      )
    );
  assert.deepEqual(found.sort(), places);
});
