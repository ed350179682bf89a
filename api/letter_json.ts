/**
 * Letters as JSON shows them: times as ISO 8601, bytes as text, hex and base64.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { isoTime } from "../pipeline/codec/time_text.ts";
import type { Forecast } from "../pipeline/letters/forecast.ts";
import type { Letter } from "../pipeline/letters/letter.ts";
import type { LetterDetail, ListedLetter } from "../pipeline/letters/letters.ts";
import type { RedriveReport } from "../pipeline/letters/redrive_request.ts";
import type { letterDetailSchema, letterSchema, redriveReportSchema } from "./letter_schemas.ts";

/** Bytes shown of a value or key; of a header's value, a 256th. */
export const SHOWN_BYTES_MAX = 1024 * 1024;
/** Headers shown of one letter. */
export const HEADERS_MAX = 200;

type LetterJson = z.infer<typeof letterSchema>;
type DetailJson = z.infer<typeof letterDetailSchema>;
type ReportJson = z.infer<typeof redriveReportSchema>;

export function letterJson(letter: ListedLetter): LetterJson {
  return { ...withTimes(letter), redriven: letter.redriven };
}

function withTimes(
  {
    kind,
    topic,
    partition,
    offset,
    pipeline,
    source,
    originalOffset,
    cause,
    schemaId,
    attempt,
    key,
    valueBytes,
    ...of
  }: Letter,
): Omit<LetterJson, "redriven"> {
  const timestamp = of.timestampMs < 0 ? null : isoTime(of.timestampMs);
  const windowStart = of.windowStartMs === null ? null : isoTime(of.windowStartMs);
  const told = { kind, topic, partition, offset, pipeline, source, originalOffset, cause, schemaId, attempt };
  return { ...told, timestamp, windowStart, key, valueBytes };
}

export function detailJson(detail: LetterDetail): DetailJson {
  const { letter, key, value, headers, decoded, attempts, window } = detail;
  return {
    ...letterJson(letter),
    keyBytes: bytesJson(key),
    value: bytesJson(value),
    headers: headers.slice(0, HEADERS_MAX).map(([name, content]) => ({
      name: name.slice(0, 1_000),
      value: bytesJson(content, SHOWN_BYTES_MAX / 256),
    })),
    headersTotal: headers.length,
    decoded: decoded.json,
    fault: decoded.fault,
    attempts,
    window: window && { start: isoTime(window.startMs), end: isoTime(window.endMs) },
  };
}

export function reportJson({ items, ...counts }: RedriveReport): ReportJson {
  return {
    ...counts,
    items: items.map(({ letter, forecast, ...rest }) => ({
      ...rest,
      letter: withTimes(letter),
      forecast: forecast && forecastJson(forecast),
    })),
  };
}

function forecastJson(forecast: Forecast): NonNullable<ReportJson["items"][number]["forecast"]> {
  if (forecast.fate !== "aggregated") return { ...forecast, window: null };
  const window = { start: isoTime(forecast.windowStartMs), end: isoTime(forecast.windowEndMs) };
  return { fate: forecast.fate, reason: null, window };
}

function bytesJson(bytes: Uint8Array | null, shownMax = SHOWN_BYTES_MAX): DetailJson["value"] {
  if (bytes === null) return null;
  const shown = bytes.subarray(0, shownMax);
  const truncated = shown.length < bytes.length;
  return { bytes: bytes.length, text: utf8(bytes, shown), hex: shown.toHex(), base64: shown.toBase64(), truncated };
}

function utf8(bytes: Uint8Array, shown: Uint8Array): string | null {
  try {
    // A cut may fall into a character: what is before it decodes all the same.
    return new TextDecoder("utf-8", { fatal: true }).decode(shown, { stream: shown.length < bytes.length });
  } catch {
    return null;
  }
}
