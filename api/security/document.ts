import { PROBLEM_JSON, problemResponses } from "../problem.ts";
import { ROUTE_ACCESS } from "./roles.ts";

interface Operation {
  description?: string;
  security?: unknown;
  responses?: Record<string, unknown>;
}

/** Adds to an OpenAPI document what a key is, which role each route asks for, and the answers to those who lack it. */
export function documentAccess(
  document: { components?: object; paths?: Record<string, unknown> },
): void {
  document.components = {
    ...document.components,
    securitySchemes: { key: { type: "http", scheme: "bearer", description: "A key that `tailrace key new` printed" } },
  };
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods as Record<string, Operation>)) {
      const access = ROUTE_ACCESS[`${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`];
      if (access === undefined || access === "open") continue;
      operation.security = [{ key: [] }];
      operation.description = [operation.description, `Asks for the role ${access}, where keys are set.`]
        .filter(Boolean).join(" ");
      operation.responses = {
        ...operation.responses,
        ...withReference(problemResponses("unauthenticated", "forbidden", "url-too-long")),
      };
    }
  }
}

/** The document names the shape of problems; a copy of the schema would be a second one. */
function withReference(responses: ReturnType<typeof problemResponses>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(responses).map(([status, { description }]) => [status, {
      description,
      content: { [PROBLEM_JSON]: { schema: { $ref: "#/components/schemas/Problem" } } },
    }]),
  );
}
