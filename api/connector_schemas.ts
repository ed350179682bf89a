/**
 * The shapes of sources and deliveries.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { isoTime } from "../pipeline/codec/time_text.ts";
import type { ConnectorStatus, RejectedRecord } from "../pipeline/runtime/connector_status.ts";
import { redact } from "./security/redact.ts";

const count = z.number().int();

/** Rejected records of one answer: at most so many times 64 KiB, twice that as hexadecimal digits. */
const REJECTED_MAX = 100;

export const connectorSchema = z.object({
  name: z.string(),
  kind: z.enum(["source", "delivery"]),
  state: z.enum(["starting", "running", "waiting", "failed", "stopped"]).openapi({
    description: "Waiting goes on by itself; failed has to be started, once the reason is mended",
  }),
  reason: z.string().nullable().openapi({ description: "Why it waits, failed or rests" }),
  lastError: z.object({ at: z.string(), message: z.string() }).nullable(),
  from: z.string().openapi({ example: "GET https://api.example.com/users" }),
  to: z.array(z.string()),
  topic: z.string().openapi({ description: "The topic that a source writes or a delivery reads" }),
  rates: z.object({ inPerSecond: z.number(), outPerSecond: z.number() }),
  counts: z.object({
    read: count.openapi({ description: "Since the first start: the sum of all that follow" }),
    written: count,
    rejected: count.openapi({ description: "In <topic>.rejected, or <topic>.dead of a delivery" }),
    skipped: count.openapi({ description: "There already, or no record" }),
  }),
  lagRecords: z.number().nullable(),
  committedAt: z.string().nullable(),
  limitPerSecond: z.number().nullable(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
}).openapi("Connector");

export const connectorsSchema = z.object({ connectors: z.array(connectorSchema) }).openapi("ConnectorPage");

export const connectorParamSchema = z.object({
  name: z.string().min(1).openapi({ param: { name: "name", in: "path" }, example: "user_profiles" }),
});

export const rejectedQuerySchema = z.strictObject({
  limit: z.string().transform((text, context) => {
    const value = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
    if (value >= 1 && value <= REJECTED_MAX) return value;
    context.addIssue({ code: "custom", message: `must be a whole number from 1 to ${REJECTED_MAX}` });
    return z.NEVER;
  }).default(20).openapi({ type: "integer", minimum: 1, maximum: REJECTED_MAX, default: 20, example: 20 }),
});

export const rejectedSchema = z.object({
  connector: z.string(),
  rejected: z.array(z.object({
    partition: count.openapi({ description: "Where it is kept, in <topic>.rejected, or <topic>.dead of a delivery" }),
    offset: count,
    timestamp: z.string().nullable(),
    reason: z.string().openapi({ example: 'price is "abc", not a decimal(10, 2)' }),
    where: z.string().openapi({ description: "Where it was", example: "orders.csv:17" }),
    value: z.object({
      bytes: count.openapi({ description: "All of it" }),
      text: z.string().nullable().openapi({ description: "Its first 64 KiB; null where they are no UTF-8" }),
      hex: z.string().nullable().openapi({ description: "The same as hexadecimal digits where they are no text" }),
      truncated: z.boolean(),
    }),
  })),
}).openapi("RejectedPage");

export const limitSchema = z.strictObject({
  perSecond: z.number().positive().max(1e9).nullable().openapi({
    description: "Records per second at most; null for as fast as it goes",
    example: 1000,
  }),
}).openapi("Limit");

export function connectorJson(
  { lastError, committedAtMs, reason, to, ...same }: ConnectorStatus,
): z.infer<typeof connectorSchema> {
  return {
    ...same,
    reason: reason && redact(reason),
    to: [...to],
    details: { ...same.details },
    lastError: lastError && { at: isoTime(lastError.atMs)!, message: redact(lastError.message) },
    committedAt: committedAtMs === null ? null : isoTime(committedAtMs),
  };
}

export function rejectedJson(
  connector: string,
  rejected: readonly RejectedRecord[],
): z.infer<typeof rejectedSchema> {
  return {
    connector,
    rejected: rejected.map(({ partition, offset, timestampMs, reason, where, value, valueBytes }) => {
      const truncated = valueBytes > value.length;
      const text = asText(value, truncated);
      return {
        partition,
        offset,
        timestamp: timestampMs < 0 ? null : isoTime(timestampMs),
        reason,
        where,
        value: { bytes: valueBytes, text, hex: text === null ? value.toHex() : null, truncated },
      };
    }),
  };
}

/** Null for what is no UTF-8. A cut may fall into a character: what is before it is text all the same. */
function asText(bytes: Uint8Array, isCut: boolean): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: isCut });
  } catch {
    return null;
  }
}
