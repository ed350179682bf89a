import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { Letters } from "../../pipeline/letters/letters.ts";
import type { RedriveEdit } from "../../pipeline/letters/redrive_request.ts";
import { SelectionError } from "../../pipeline/letters/selection.ts";
import type { AppDeps } from "../deps.ts";
import { detailJson, letterJson, reportJson } from "../letter_json.ts";
import {
  letterDetailSchema,
  letterPageSchema,
  letterPlaceSchema,
  letterQuerySchema,
  redriveReportSchema,
  redriveSchema,
} from "../letter_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";

/** Longer than a redrive goes on by itself. */
const TIMEOUT_MS = 45_000;

const list = createRoute({
  method: "get",
  path: "/v1/letters",
  tags: ["Letters"],
  summary: "Late records and dead letters",
  description:
    "What was not aggregated, from the topics `<topic>.late` and `<topic>.dead`; without the records' bytes.",
  request: { query: letterQuerySchema },
  responses: {
    200: { description: "A page of letters", content: { "application/json": { schema: letterPageSchema } } },
    ...problemResponses("invalid-request", "no-engine", "unavailable"),
  },
});

const show = createRoute({
  method: "get",
  path: "/v1/letters/{kind}/{topic}/{partition}/{offset}",
  tags: ["Letters"],
  summary: "One letter: bytes, headers, cause, and its value as JSON as far as it decodes",
  description: "Partition and offset are those of the letter in `<topic>.<kind>`.",
  request: { params: letterPlaceSchema },
  responses: {
    200: { description: "The letter", content: { "application/json": { schema: letterDetailSchema } } },
    ...problemResponses("invalid-request", "unknown-letter", "no-engine", "unavailable"),
  },
});

const redrive = createRoute({
  method: "post",
  path: "/v1/letters/redrive",
  tags: ["Letters"],
  summary: "Bring letters back: write the records again to where they came from",
  description:
    "Each counts once, however often it is redriven: a late record reopens its window, which is published as a " +
    "new revision. A letter comes back at most three times. A request ends after 25 s, or at its cap; `next` goes on. " +
    "One at a time over a topic; another one is refused meanwhile.",
  request: { body: { required: true, content: { "application/json": { schema: redriveSchema } } } },
  responses: {
    200: {
      description: "What was redriven, skipped and refused; in a dry run, what would be",
      content: { "application/json": { schema: redriveReportSchema } },
    },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "redrive-conflict",
      "body-too-large",
      "unsupported-media-type",
      "no-engine",
      "unavailable",
    ),
  },
});

/** `/v1/letters`, one letter, and `/v1/letters/redrive`. */
export function letterRoutes(app: OpenAPIHono, { letters }: AppDeps): void {
  const noStore = { "cache-control": "no-store" };

  app.openapi(list, async (c) => {
    const query = c.req.valid("query");
    const page = await asked(letters, "query", (desk, signal) => desk.list(query, { signal }));
    return c.json({ letters: page.letters.map(letterJson), next: page.next }, 200, noStore);
  });

  app.openapi(show, async (c) => {
    const place = c.req.valid("param");
    const detail = await asked(letters, "path", (desk, signal) => desk.show(place, { signal }));
    const at = `partition ${place.partition}, offset ${place.offset} of topic ${place.topic}.${place.kind}`;
    if (!detail) throw new ProblemException("unknown-letter", { detail: `there is none at ${at}` });
    return c.json(detailJson(detail), 200, noStore);
  });

  app.openapi(redrive, async (c) => {
    const { edit, ...request } = c.req.valid("json");
    const wanted = { ...request, edit: edit && editOf(edit) };
    const report = await asked(letters, "body", (desk, signal) => desk.redrive(wanted, { signal }));
    return c.json(reportJson(report), 200, noStore);
  });
}

/** Asks within `TIMEOUT_MS`, and turns what the caller can change into problems. */
async function asked<T>(
  letters: Letters | undefined,
  place: string,
  ask: (letters: Letters, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (!letters) throw new ProblemException("no-engine");
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await ask(letters, signal);
  } catch (error) {
    if (error instanceof SelectionError) {
      const errors = error.faults.map(({ where, problem }) => ({ where: `${place}.${where}`, problem }));
      throw new ProblemException("invalid-request", { errors });
    }
    if (error instanceof ConflictError) throw new ProblemException("redrive-conflict", { detail: error.message });
    // The registry's credentials, or a journal that is too long: for whoever runs this, and not the caller's fault.
    if (error instanceof ConfigError) throw new ProblemException("unavailable", { detail: error.message });
    if (signal.aborted) throw new UnavailableError(`Kafka did not answer within ${TIMEOUT_MS / 1000} s`);
    throw error;
  }
}

function editOf(edit: NonNullable<z.infer<typeof redriveSchema>["edit"]>): RedriveEdit {
  if (edit.base64 !== undefined) return { kind: "bytes", bytes: Uint8Array.fromBase64(edit.base64) };
  return { kind: "json", value: edit.value, schema: edit.schema };
}
