import assert from "node:assert/strict";

interface GraphModule {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly code?: { readonly specifier?: string };
    readonly type?: unknown;
  }[];
}

/** All local modules that `entry` loads when it runs, and the specifiers of what it takes from packages. */
async function loads(entry: string): Promise<{ files: string[]; packages: string[] }> {
  const root = new URL("../../", import.meta.url);
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--no-lock", entry],
    cwd: root,
    stderr: "inherit",
  }).output();
  assert.ok(success);
  const { modules, redirects = {} } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: GraphModule[];
    redirects?: Record<string, string>;
  };
  const bySpecifier = new Map(modules.map((module) => [module.specifier, module]));
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (specifier: string) => {
    const name = redirects[specifier] ?? specifier;
    if (files.has(name)) return;
    files.add(name);
    for (const dependency of bySpecifier.get(name)?.dependencies ?? []) {
      const target = dependency.code?.specifier;
      if (!target) continue; // types only
      if (target.startsWith("file:") && !target.includes("/node_modules/")) visit(target);
      else packages.add(dependency.specifier);
    }
  };
  visit(new URL(entry, root).href);
  return { files: [...files].map((file) => file.slice(root.href.length)), packages: [...packages].sort() };
}

Deno.test("what createApp loads uses Web-standard APIs only", async () => {
  const { files, packages } = await loads("api/app.ts");
  assert.ok(files.includes("api/live.ts") && files.includes("api/routes/results.ts"), "the walk found the routes");
  assert.deepEqual(packages, ["@hono/zod-openapi", "hono/body-limit", "hono/http-exception", "hono/route"]);
  for (const file of files) {
    const source = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
    const code = source.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    assert.doesNotMatch(code, /\bDeno\b|\bprocess\.|\bBuffer\b|["']node:/, file);
  }
});

Deno.test("the result reader takes nothing but Web-standard APIs either; its client is handed in", async () => {
  const { files, packages } = await loads("api/results_postgres.ts");
  assert.deepEqual(packages, []);
  for (const file of files) {
    const code = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
    assert.doesNotMatch(
      code.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ""),
      /\bDeno\b|\bprocess\.|\bBuffer\b|["']node:/,
      file,
    );
  }
});

Deno.test("the application runs where neither Deno nor Node is", async () => {
  const script = `
    const { createApp } = await import(${JSON.stringify(new URL("../../api/app.ts", import.meta.url).href)});
    // After loading: the loader of npm packages is itself made of these.
    for (const name of ["Deno", "process", "Buffer", "global", "setImmediate"]) delete globalThis[name];
    const app = createApp({
      pipelines: [{ name: "p", columns: [] }],
      results: { read: () => Promise.resolve({ rows: [{ n: 1 }], next: null }) },
      ready: () => Promise.resolve([]),
      asset: () => Promise.resolve(null),
      version: "1",
    });
    const statuses = [typeof Deno];
    for (const path of ["/v1/pipelines/p/results", "/openapi.json", "/docs", "/v1/live", "/"]) {
      const response = await app.request(path);
      await response.text();
      statuses.push(response.status);
    }
    postMessage(statuses);`;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    const statuses = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
    assert.deepEqual(statuses, ["undefined", 200, 200, 200, 501, 404]);
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
});
