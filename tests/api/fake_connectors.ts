import {
  type ConnectorControl,
  type ConnectorStatus,
  NO_COUNTS,
  type RejectedRecord,
} from "../../pipeline/runtime/connector_status.ts";

/** A source at work; `changes` replaces fields. */
export function connectorStatus(changes: Partial<ConnectorStatus> = {}): ConnectorStatus {
  return {
    name: "user_profiles",
    kind: "source",
    state: "running",
    reason: null,
    lastError: { atMs: 1_700_000_000_000, message: "GET https://api.example.com/users: 503" },
    from: "GET https://api.example.com/users",
    to: ["topic user_profiles"],
    topic: "user_profiles",
    rates: { inPerSecond: 12.5, outPerSecond: 12 },
    counts: { ...NO_COUNTS, read: 10, written: 7, rejected: 2, skipped: 1 },
    lagRecords: null,
    committedAtMs: 1_700_000_001_000,
    limitPerSecond: null,
    details: { pages: 3, since: "2026-01-01" },
    ...changes,
  };
}

const text = new TextEncoder();

/** Two that were rejected: a text, and bytes that are none. */
export const REJECTED: readonly RejectedRecord[] = [
  {
    partition: 0,
    offset: 12,
    timestampMs: 1_700_000_001_000,
    reason: "email is missing",
    where: "GET /users page 3 item 12",
    value: text.encode('{"id":12,"name":"<b>Ada</b>"}'),
    valueBytes: 29,
  },
  {
    partition: 0,
    offset: 11,
    timestampMs: 1_700_000_000_000,
    reason: "is no JSON",
    where: "GET /users page 3 item 11",
    value: new Uint8Array([0xff, 0x00]),
    valueBytes: 100_000,
  },
];

/** One source, whose limit and state a test sees change; `changes` replaces what is done. */
export function fakeConnectors(changes: Partial<ConnectorControl> = {}): ConnectorControl {
  let status = connectorStatus();
  return {
    status: () => [status],
    stop: () => Promise.resolve(void (status = { ...status, state: "stopped" })),
    start: () => Promise.resolve(void (status = { ...status, state: "starting" })),
    limit: (_, limitPerSecond) => void (status = { ...status, limitPerSecond }),
    rejected: (_, { limit }) => Promise.resolve(REJECTED.slice(0, limit)),
    ...changes,
  };
}
