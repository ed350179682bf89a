/**
 * Feeds as kinds of source: definitions checked, and opened.
 *
 * @module
 */
import { ConfigError, type Fault } from "../../errors.ts";
import { authFaults, createAuthorization } from "../../net/authorization.ts";
import { Guard, type GuardOptions, hostOf, showUrl } from "../../net/guarded_fetch.ts";
import { headerFaults, headersOf } from "../../net/request_headers.ts";
import { parseDuration } from "../../plan/durations.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { isSecret } from "../../secrets.ts";
import { jsonPath, parseJsonPath } from "../http/json_path.ts";
import { mapFaults } from "../http/map_faults.ts";
import { shaper } from "../http/page_records.ts";
import { createRecordMaker } from "../record_maker.ts";
import type { SourceContext, SourceKind, SourcePlan } from "../source_spec.ts";
import type { EventStreamSpec, WebSocketSpec } from "./definition.ts";
import { FeedSource } from "./feed_source.ts";
import { EventStreamFeed, httpUrl, WebSocketFeed } from "./feeds.ts";

type FeedSpec = EventStreamSpec | WebSocketSpec;

const SILENCE = "1 minute";
const HEARTBEAT = "30 seconds";
const MESSAGE_BYTES = 1024 * 1024;
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
const FEED_OPTIONS = {
  url: true,
  headers: true,
  auth: true,
  records: true,
  map: true,
  id: true,
  allowPrivate: true,
  silence: true,
  messageBytesMax: true,
};
const EVENT_STREAM_OPTIONS: KnownOptions<EventStreamSpec> = { ...FEED_OPTIONS, events: true };
const WEB_SOCKET_OPTIONS: KnownOptions<WebSocketSpec> = { ...FEED_OPTIONS, subscribe: true, heartbeat: true };

export const eventStreamKind: SourceKind<EventStreamSpec> = {
  to: "topic",
  check,
  describe: ({ url }) => `events of ${shown(url)}`,
  open: (spec, context) => Promise.resolve(openFeed(spec, context)),
};

export const webSocketKind: SourceKind<WebSocketSpec> = {
  to: "topic",
  check,
  describe: ({ url }) => `WebSocket ${shown(url)}`,
  open: (spec, context) => Promise.resolve(openFeed(spec, context)),
};

/** @param guarded for tests: how names are resolved, and whose certificates are trusted */
export function openFeed(
  spec: FeedSpec,
  { plan, secrets, schemaId, clock }: Pick<SourceContext, "plan" | "secrets" | "schemaId" | "clock">,
  guarded: Pick<GuardOptions, "lookup" | "ca"> = {},
): FeedSource {
  if (plan.to.kind !== "topic") throw new Error("A feed has one topic");
  const { schema, key } = plan.to;
  const where = isSecret(spec.url) ? `secret ${spec.url.secret}` : "from.url";
  const text = isSecret(spec.url) ? secrets.get(spec.url) : spec.url;
  const problem = urlProblem(text, spec);
  if (problem !== null) throw new ConfigError({ where, problem });
  const url = httpUrl(text, where);
  const network = { ...guarded, allowPrivate: spec.allowPrivate ?? false };
  const guard = new Guard({ ...network, hosts: [hostOf(url)] });
  const authorization = createAuthorization(spec.auth, { secrets, guard: network, clock });
  const connection = {
    url,
    headers: headersOf(spec.headers, secrets),
    guard,
    authorization,
    silenceMs: parseDuration(spec.silence ?? SILENCE) as number,
    messageBytesMax: spec.messageBytesMax ?? MESSAGE_BYTES,
  };
  const asText = (message: unknown) => typeof message === "string" ? message : JSON.stringify(message);
  return new FeedSource({
    feed: spec.kind === "eventStream" ? new EventStreamFeed(connection, { events: spec.events }) : new WebSocketFeed(
      connection,
      {
        subscribe: (spec.subscribe ?? []).map(asText),
        heartbeat: {
          everyMs: parseDuration(spec.heartbeat?.every ?? HEARTBEAT) as number,
          text: spec.heartbeat?.message === undefined ? null : asText(spec.heartbeat.message),
        },
      },
    ),
    guard,
    authorization,
    records: spec.records,
    shape: shaper(schema, spec.map),
    maker: createRecordMaker({ schema, schemaId, key }),
    id: spec.id === undefined ? null : jsonPath(spec.id),
  });
}

function urlProblem(text: unknown, { kind, auth, headers, allowPrivate }: FeedSpec): string | null {
  const schemes = kind === "webSocket" ? ["wss:", "ws:"] : ["https:", "http:"];
  if (typeof text !== "string" || !URL.canParse(text) || !schemes.includes(new URL(text).protocol)) {
    return `is no URL that begins with ${schemes.map((scheme) => `${scheme}//`).join(" or ")}`;
  }
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return "has a user or password in it: give them as auth";
  const isSecretive = auth !== undefined || Object.values(headers ?? {}).some(isSecret);
  if (url.protocol === schemes[1] && isSecretive && !allowPrivate) {
    return `shows secrets to everyone on the way: use ${schemes[0]}, or allowPrivate: true in your own network`;
  }
  return null;
}

function shown(url: FeedSpec["url"]): string {
  if (isSecret(url)) return `the URL in secret ${url.secret}`;
  return URL.canParse(url) ? showUrl(new URL(url)) : String(url);
}

function check(spec: FeedSpec, plan: SourcePlan): readonly Fault[] {
  const faults: Fault[] = spec.kind === "webSocket"
    ? unknownOptions(spec, WEB_SOCKET_OPTIONS, "from")
    : unknownOptions(spec, EVENT_STREAM_OPTIONS, "from");
  const fault = (where: string, problem: string) => void faults.push({ where: `from.${where}`, problem });
  const path = (where: string, text: unknown) => {
    const found = parseJsonPath(text);
    if (typeof found === "string") fault(where, found);
  };
  const duration = (where: string, text: unknown) => {
    const found = parseDuration(text);
    if (typeof found === "string") fault(where, found);
    else if (found < 100) fault(where, `${text} is too short: 100 ms at least`);
  };
  const problem = isSecret(spec.url) ? null : urlProblem(spec.url, spec);
  if (problem !== null) fault("url", problem);
  faults.push(...headerFaults(spec.headers, "from.headers"), ...authFaults(spec.auth, "from.auth"));
  path("records", (spec.records ?? "").replace(/\?$/, ""));
  if (spec.id !== undefined) path("id", spec.id);
  if (plan.to.kind === "topic" && spec.map !== undefined) faults.push(...mapFaults(spec.map, plan.to.schema));
  duration("silence", spec.silence ?? SILENCE);
  if (spec.kind === "webSocket") {
    duration("heartbeat.every", spec.heartbeat?.every ?? HEARTBEAT);
    if (spec.subscribe !== undefined && !Array.isArray(spec.subscribe)) fault("subscribe", "is no list of messages");
  } else if (spec.events !== undefined && !(Array.isArray(spec.events) && spec.events.length > 0)) {
    fault("events", "is no list of names: leave it out for all");
  }
  const { messageBytesMax: bytes } = spec;
  if (bytes !== undefined && !(Number.isInteger(bytes) && bytes >= 1 && bytes <= MESSAGE_BYTES_MAX)) {
    fault("messageBytesMax", `${bytes} is not a whole number from 1 to ${MESSAGE_BYTES_MAX}`);
  }
  return faults;
}
