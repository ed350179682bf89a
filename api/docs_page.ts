/**
 * `/docs`: the OpenAPI document as a page for people. Rendered here, so it needs no script and nothing from elsewhere.
 *
 * @module
 */
import { PROBLEMS } from "./problem.ts";

/** The parts of an OpenAPI 3.1 document that the page reads. */
export interface OpenApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: Content }>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
  readonly example?: unknown;
}

type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly example?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

/** Renders the page; `origin` such as `http://127.0.0.1:8000` goes into the commands to paste. */
export function docsPage(document: OpenApiDocument, origin: string): string {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation }))
  );
  const tags = [...new Set(operations.map(({ operation }) => operation.tags?.[0] ?? "Other"))];
  const { title, version, description } = document.info;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(title)} API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/style.css">
</head>
<body class="docs">
<header class="top">
<h1><a href="/">${text(title)}</a> <span class="quiet">API ${text(version)}</span></h1>
<nav aria-label="Pages"><a href="/">Dashboard</a><a href="/metrics">Metrics</a><a href="/openapi.json">openapi.json</a></nav>
</header>
<main>
<p class="lead">${text(description ?? "")}</p>
<nav class="contents" aria-label="Contents">
${
    tags.map((tag) =>
      `<div><h2>${text(tag)}</h2><ul>${
        operations.filter(({ operation }) => (operation.tags?.[0] ?? "Other") === tag).map(({ path, method }) =>
          `<li><a href="#${anchor(method, path)}"><b>${method}</b> ${text(path)}</a></li>`
        ).join("")
      }</ul></div>`
    ).join("\n")
  }
</nav>
${operations.map(({ path, method, operation }) => section(method, path, operation, origin)).join("\n")}
<h2 id="schemas">Shapes</h2>
${Object.entries(document.components?.schemas ?? {}).map(([name, schema]) => shape(name, schema)).join("\n")}
<h2 id="problems">Problems</h2>
<p>Every error is <code>application/problem+json</code> as RFC 9457 has it, with one of these types.</p>
<div class="scroll"><table><thead><tr><th>type</th><th>status</th><th>what it says</th><th>what to do</th></tr></thead><tbody>
${
    Object.entries(PROBLEMS).map(([kind, [status, title, advice]]) =>
      `<tr id="${kind}"><td><code>/docs#${kind}</code></td><td>${status}</td><td>${text(title)}</td><td>${
        prose(advice)
      }</td></tr>`
    ).join("\n")
  }
</tbody></table></div>
</main>
</body>
</html>
`;
}

function section(method: string, path: string, operation: Operation, origin: string): string {
  const parameters = operation.parameters ?? [];
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  return `<section class="route" id="${anchor(method, path)}">
<h3><b class="method ${method.toLowerCase()}">${method}</b> <code>${text(path)}</code></h3>
<p>${prose(operation.summary ?? "")}</p>
${operation.description ? `<p class="quiet">${prose(operation.description)}</p>` : ""}
${
    parameters.length === 0
      ? ""
      : `<div class="scroll"><table><thead><tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr></thead><tbody>${
        parameters.map((parameter) =>
          `<tr><td><code>${text(parameter.name)}</code>${
            parameter.required ? " <small>required</small>" : ""
          }</td><td>${text(parameter.in)}</td><td>${type(parameter.schema)}</td><td>${
            prose(parameter.description ?? parameter.schema?.description ?? "")
          }${note(parameter.schema)}</td></tr>`
        ).join("")
      }</tbody></table></div>`
  }
${body ? `<p>Body: ${type(body)}</p>` : ""}
<div class="scroll"><table><thead><tr><th>status</th><th>answer</th><th>shape</th></tr></thead><tbody>${
    Object.entries(operation.responses ?? {}).map(([status, response]) =>
      `<tr><td>${text(status)}</td><td>${prose(response.description ?? "")}</td><td>${
        Object.entries(response.content ?? {}).map(([mediaType, { schema }]) =>
          `${type(schema)} <small>${text(mediaType)}</small>`
        ).join("<br>")
      }</td></tr>`
    ).join("")
  }</tbody></table></div>
<pre tabindex="0"><code>${text(curl(method, path, operation, origin))}</code></pre>
</section>`;
}

/** A command that works when pasted: examples stand for path parameters, streams are not buffered. */
function curl(method: string, path: string, operation: Operation, origin: string): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => {
    const parameter = operation.parameters?.find((parameter) => parameter.in === "path" && parameter.name === name);
    return encodeURIComponent(String(parameter?.schema?.example ?? parameter?.example ?? name));
  });
  const streams = operation.responses?.["200"]?.content?.["text/event-stream"] !== undefined;
  const body = operation.requestBody
    ? ` -H 'Content-Type: application/json' \\\n  -d '{"records":[{"key":"k","value":{"field":1}}]}'`
    : "";
  const query = operation.parameters?.some((parameter) => parameter.name === "limit") ? "?limit=5" : "";
  return `curl -s${streams ? "N" : ""}${method === "GET" ? "" : ` -X ${method}`} '${origin}${filled}${query}'${body}`;
}

function shape(name: string, schema: Schema): string {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([property, of]) =>
    `<tr><td><code>${text(property)}</code>${required.has(property) ? "" : " <small>optional</small>"}</td><td>${
      type(of)
    }</td><td>${prose(of.description ?? "")}${note(of)}</td></tr>`
  );
  return `<section class="shape" id="schema-${text(name)}"><h3>${text(name)}</h3>
${schema.description ? `<p>${prose(schema.description)}</p>` : ""}
${
    rows.length > 0
      ? `<div class="scroll"><table><thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead><tbody>${
        rows.join("")
      }</tbody></table></div>`
      : `<p>${type({ ...schema, description: undefined })}</p>`
  }
${
    schema.example === undefined
      ? ""
      : `<pre tabindex="0"><code>${text(JSON.stringify(schema.example, null, 2))}</code></pre>`
  }
</section>`;
}

function type(schema: Schema | undefined): string {
  if (!schema) return "anything";
  if (schema.$ref) {
    const name = schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1);
    return `<a href="#schema-${text(name)}">${text(name)}</a>`;
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(type).join(" or ");
  if (schema.const !== undefined) return `<code>${text(JSON.stringify(schema.const))}</code>`;
  if (schema.enum) return schema.enum.map((value) => `<code>${text(String(value))}</code>`).join(", ");
  const names = Array.isArray(schema.type) ? schema.type as string[] : [schema.type as string | undefined];
  return names.map((name) => {
    if (name === "array") return `list of ${type(schema.items)}`;
    if (name === "object" && schema.properties) {
      return `{ ${
        Object.entries(schema.properties).map(([property, of]) => `${text(property)}: ${type(of)}`).join(", ")
      } }`;
    }
    if (name === "object" && typeof schema.additionalProperties === "object") {
      return `object of ${type(schema.additionalProperties)}`;
    }
    if (name === undefined) return "anything";
    return text(name + (schema.format ? ` (${schema.format})` : ""));
  }).join(" or ");
}

function note(schema: Schema | undefined): string {
  if (!schema) return "";
  const notes = [];
  if (schema.minimum !== undefined || schema.maximum !== undefined) {
    notes.push(`${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`);
  }
  if (schema.default !== undefined) notes.push(`${JSON.stringify(schema.default)} unless given`);
  if (schema.example !== undefined) notes.push(`for example ${JSON.stringify(schema.example)}`);
  return notes.length === 0 ? "" : ` <small>${text(notes.join("; "))}</small>`;
}

function anchor(method: string, path: string): string {
  return `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+/g, "-")}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function text(value: string): string {
  return value.replaceAll(/[&<>"']/g, (character) => ESCAPES[character]);
}

/** A description: what stands between backticks is code. */
function prose(value: string): string {
  return text(value).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}
