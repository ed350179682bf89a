/**
 * What `tailrace letters` takes: options, and what they say of letters and of another value.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { redriveSchema } from "../api/letter_schemas.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { API_OPTION } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { wholeNumber } from "./numbers.ts";

export type Redrive = z.input<typeof redriveSchema>;
export type Place = {
  readonly kind: "late" | "dead";
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
};

const FILTERS = [
  { flag: "kind", placeholder: "late|dead", help: "only these" },
  { flag: "topic", placeholder: "TOPIC", help: "only of this topic" },
  { flag: "pipeline", placeholder: "NAME", help: "only of this pipeline" },
  { flag: "partition", placeholder: "N", help: "only records of this partition" },
  { flag: "offsets", placeholder: "FROM-TO", help: "only records of these offsets, both included" },
  {
    flag: "from",
    placeholder: "TIME",
    help: "only records with a timestamp at or after this: 2026-11-20T21:00Z, or ms",
  },
  { flag: "to", placeholder: "TIME", help: "only records with a timestamp before this" },
  { flag: "cause", placeholder: "TEXT", help: "only those whose cause contains this" },
  { flag: "schema-id", placeholder: "ID", help: "only records of this schema" },
  { flag: "attempt", placeholder: "N", help: "only those that had been redriven so often when they were set aside" },
  { flag: "redriven", placeholder: "true|false", help: "only those that were redriven since, or were not" },
] as const satisfies readonly Option[];

/** What `tailrace letters` takes. */
export const LETTER_OPTIONS: readonly Option[] = [
  ...FILTERS,
  { flag: "order", placeholder: "newest|oldest", help: "list: which come first (default newest)" },
  { flag: "limit", placeholder: "N", help: "list: how many (default 50)" },
  { flag: "value", placeholder: "", help: "show: only the decoded value, to edit it" },
  { flag: "yes", placeholder: "", help: "redrive: do it; without this it only tells what it would do" },
  {
    flag: "edit",
    placeholder: "FILE",
    help: "redrive: the one letter named, with this JSON as its value; - reads standard input",
  },
  { flag: "edit-base64", placeholder: "TEXT", help: "redrive: the one letter named, with these bytes as its value" },
  {
    flag: "encode-with",
    placeholder: "letter|newest|ID",
    help: "redrive: the schema for --edit (default: the letter's own)",
  },
  { flag: "cap", placeholder: "N", help: "redrive: at most so many records (default 1000)" },
  { flag: "rate", placeholder: "N", help: "redrive: so many records a second (default 1000)" },
  { flag: "force", placeholder: "", help: "redrive: also what was redriven already, or would be a dead letter again" },
  { flag: "json", placeholder: "", help: "JSON instead of tables: a line for each letter or report" },
  API_OPTION,
];

/** The filter's parameters, as a body has them. */
export function filterOf(flags: Call["flags"]): Extract<Redrive["selection"], { readonly filter: unknown }>["filter"] {
  const { kind, topic, pipeline, from, to, cause } = flags;
  if (kind !== undefined && kind !== "late" && kind !== "dead") throw fault("--kind", "must be late or dead");
  const [, first, last] = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(flags.offsets ?? "") ?? [];
  if (flags.offsets !== undefined && first === undefined) throw fault("--offsets", "must be one offset or FROM-TO");
  const { redriven } = flags;
  if (redriven !== undefined && !["true", "false"].includes(redriven)) {
    throw fault("--redriven", "must be true or false");
  }
  const all = {
    kind,
    topic,
    pipeline,
    partition: wholeNumber(flags.partition, "--partition"),
    offsetFrom: first === undefined ? undefined : Number(first),
    offsetTo: first === undefined ? undefined : Number(last ?? first) + 1,
    from,
    to,
    cause,
    schemaId: wholeNumber(flags["schema-id"], "--schema-id"),
    attempt: wholeNumber(flags.attempt, "--attempt"),
    redriven: redriven === undefined ? undefined : redriven === "true",
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Another value for the one letter named. */
export async function editOf(flags: Call["flags"]): Promise<Redrive["edit"]> {
  const { edit: path, "edit-base64": base64, "encode-with": schema = "letter" } = flags;
  if (path !== undefined && base64 !== undefined) throw fault("--edit", "and --edit-base64 exclude each other");
  if (base64 !== undefined) return { base64 };
  if (path === undefined) {
    if (flags["encode-with"] !== undefined) throw fault("--encode-with", "is for --edit");
    return undefined;
  }
  if (!/^(letter|newest|\d{1,10})$/.test(schema)) {
    throw fault("--encode-with", "must be letter, newest, or a schema's id");
  }
  try {
    const text = path === "-" ? await new Response(Deno.stdin.readable).text() : await Deno.readTextFile(path);
    const value = JSON.parse(text);
    return { value, schema: schema === "letter" || schema === "newest" ? schema : Number(schema) };
  } catch (error) {
    throw fault(`--edit ${path}`, `cannot be read as JSON: ${(error as Error).message}`);
  }
}

/** @throws ConfigError for what names no letter */
export function parsePlace(text: string): Place {
  const [, kind, topic, partition, offset] = /^(late|dead)\/([A-Za-z0-9._-]+)\/(\d{1,9})\/(\d{1,15})$/.exec(text) ?? [];
  if (kind === undefined) {
    throw fault(text, "is no letter's place: late/TOPIC/PARTITION/OFFSET, as letters list shows it");
  }
  return { kind: kind as Place["kind"], topic, partition: Number(partition), offset: Number(offset) };
}

export function placeText({ kind, topic, partition, offset }: Place): string {
  return `${kind}/${topic}/${partition}/${offset}`;
}

export function fault(where: string, problem: string): ConfigError {
  return new ConfigError({ where, problem });
}
