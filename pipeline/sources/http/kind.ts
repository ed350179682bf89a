/**
 * HTTP APIs as a kind of source: definitions checked, and opened.
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
import { createRecordMaker } from "../record_maker.ts";
import type { SourceContext, SourceKind, SourcePlan } from "../source_spec.ts";
import type { HttpPollSpec, Paging, Parameter, Since } from "./definition.ts";
import { parseJsonPath } from "./json_path.ts";
import { KeptPages } from "./kept_pages.ts";
import { mapFaults } from "./map_faults.ts";
import { shaper } from "./page_records.ts";
import { pager } from "./paging.ts";
import { HttpPollSource } from "./poll.ts";
import { parseSchedule } from "./schedule.ts";
import { overlapOf, sinceReader, sinceValue } from "./since.ts";

const TIMEOUT = "30 seconds";
const BYTES_MAX = 256 * 1024 * 1024;
const PAGES_MAX = 1_000_000;
const OPTIONS: KnownOptions<HttpPollSpec> = {
  url: true,
  method: true,
  headers: true,
  query: true,
  body: true,
  auth: true,
  records: true,
  map: true,
  paging: true,
  since: true,
  every: true,
  cron: true,
  timezone: true,
  repeats: true,
  hosts: true,
  allowPrivate: true,
  timeout: true,
  bytesMax: true,
  pagesMax: true,
  requestsPerSecond: true,
};
const SINCE_OPTIONS: KnownOptions<Since> = { path: true, as: true, to: true, overlap: true, start: true };
const PAGING_OPTIONS: { readonly [By in Paging["by"]]: KnownOptions<Extract<Paging, { readonly by: By }>> } = {
  link: { by: true },
  url: { by: true, path: true },
  cursor: { by: true, path: true, to: true, keep: true, more: true },
  page: { by: true, to: true, first: true, more: true },
  offset: { by: true, to: true, more: true },
};

export const httpPollKind: SourceKind<HttpPollSpec> = {
  to: "topic",
  check,
  describe: ({ url, method = "GET" }) =>
    `${method} ${isSecret(url) ? `the URL in secret ${url.secret}` : URL.canParse(url) ? showUrl(new URL(url)) : url}`,
  open: (spec, context) => Promise.resolve(openHttp(spec, context)),
};

/** @param guard for tests: how names are resolved, and whose certificates are trusted */
export function openHttp(
  spec: HttpPollSpec,
  context: Pick<SourceContext, "plan" | "secrets" | "schemaId" | "clock" | "log">,
  guard: Pick<GuardOptions, "lookup" | "ca"> = {},
): HttpPollSource {
  const { plan, secrets, schemaId, clock, log } = context;
  const { to } = plan;
  if (to.kind !== "topic") throw new Error("An HTTP source has one topic");
  const text = isSecret(spec.url) ? secrets.get(spec.url) : spec.url;
  const problem = urlProblem(text, spec);
  // The text itself may be secret.
  if (problem !== null) {
    throw new ConfigError({ where: isSecret(spec.url) ? `secret ${spec.url.secret}` : "from.url", problem });
  }
  const url = new URL(text);
  const guarded = { ...guard, allowPrivate: spec.allowPrivate ?? false };
  const schedule = parseSchedule(spec);
  if (typeof schedule === "string") throw new Error(schedule);
  const paged = pager(spec.paging);
  return new HttpPollSource({
    spec,
    url,
    headers: headersOf(spec.headers, secrets),
    authorization: createAuthorization(spec.auth, { secrets, guard: guarded, clock }),
    guard: new Guard({ ...guarded, hosts: [hostOf(url), ...spec.hosts ?? []] }),
    pager: paged,
    kept: new KeptPages(spec, { url, secrets, isUrl: paged.isUrl }),
    timeoutMs: parseDuration(spec.timeout ?? TIMEOUT) as number,
    schedule,
    since: spec.since ? sinceReader(spec.since) : null,
    shape: shaper(to.schema, spec.map),
    maker: createRecordMaker({ schema: to.schema, schemaId, key: to.key }),
    warn: (message) => log("warn", message),
  });
}

function urlProblem(text: unknown, { auth, headers, allowPrivate }: HttpPollSpec): string | null {
  if (typeof text !== "string" || !URL.canParse(text)) return "is no URL, such as https://api.example.com/users";
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "is neither https: nor http:";
  if (url.username !== "" || url.password !== "") return "has a user or password in it: give them as auth";
  const isSecretive = auth !== undefined || Object.values(headers ?? {}).some(isSecret);
  if (url.protocol === "http:" && isSecretive && !allowPrivate) {
    return "is http:, which shows secrets to everyone on the way: use https:, or allowPrivate: true in your own network";
  }
  return null;
}

function check(spec: HttpPollSpec, plan: SourcePlan): readonly Fault[] {
  const faults: Fault[] = unknownOptions(spec, OPTIONS, "from");
  const fault = (where: string, problem: string | null) =>
    problem !== null && faults.push({ where: `from.${where}`, problem });
  const path = (where: string, text: unknown) => {
    const found = parseJsonPath(text);
    if (typeof found === "string") fault(where, found);
  };
  const parameter = (where: string, to: Parameter | undefined) => {
    if (to && "query" in to && typeof to.query === "string" && to.query !== "") return;
    if (to && "body" in to) {
      if (spec.method !== "POST") fault(where, "only a POST has a body");
      return path(where, to.body);
    }
    fault(where, `is neither { query: ".." } nor { body: ".." }`);
  };
  if (!isSecret(spec.url)) fault("url", urlProblem(spec.url, spec));
  if (spec.method !== undefined && spec.method !== "GET" && spec.method !== "POST") {
    fault("method", `${spec.method} is neither GET nor POST`);
  }
  if (spec.body !== undefined && spec.method !== "POST") fault("body", "only a POST has a body");
  faults.push(...headerFaults(spec.headers, "from.headers"), ...authFaults(spec.auth, "from.auth"));
  path("records", (spec.records ?? "").replace(/\?$/, ""));
  if (plan.to.kind === "topic" && spec.map !== undefined) faults.push(...mapFaults(spec.map, plan.to.schema));
  const { paging, since } = spec;
  if (paging !== undefined) {
    if (Object.hasOwn(PAGING_OPTIONS, paging.by)) {
      faults.push(...unknownOptions<Paging>(paging, PAGING_OPTIONS[paging.by], "from.paging"));
    } else fault("paging.by", `${paging.by} is none of link, url, cursor, page and offset`);
    if ("path" in paging) path("paging.path", paging.path);
    if ("more" in paging && paging.more !== undefined) path("paging.more", paging.more);
    if (paging.by === "cursor" || paging.by === "page" || paging.by === "offset") parameter("paging.to", paging.to);
    if (paging.by === "page" && paging.first !== undefined && !Number.isInteger(paging.first)) {
      fault("paging.first", `${paging.first} is no whole number`);
    }
  }
  if (since !== undefined) {
    faults.push(...unknownOptions(since, SINCE_OPTIONS, "from.since"));
    path("since.path", since.path);
    parameter("since.to", since.to);
    if (!["time", "seconds", "millis", "number"].includes(since.as)) {
      fault("since.as", `${since.as} is none of time, seconds, millis and number`);
    }
    const overlap = overlapOf(since);
    if (typeof overlap === "string") fault("since.overlap", overlap);
    if (since.start !== undefined && sinceValue(since.start, since.as) === null) {
      fault("since.start", `${JSON.stringify(since.start)} is no ${since.as}`);
    }
    if (spec.repeats === "write") fault("repeats", "with since, what comes again is in its overlap: leave it out");
  }
  if (spec.repeats !== undefined && spec.repeats !== "skip" && spec.repeats !== "write") {
    fault("repeats", `${spec.repeats} is neither skip nor write`);
  }
  const schedule = parseSchedule(spec);
  if (typeof schedule === "string") fault(spec.cron === undefined ? "every" : "cron", schedule);
  for (const host of spec.hosts ?? []) {
    if (!URL.canParse(`https://${host}`) || hostOf(new URL(`https://${host}`)) !== host.toLowerCase()) {
      fault("hosts", `${JSON.stringify(host)} is no host, such as api2.example.com or api2.example.com:8443`);
    }
  }
  const timeout = parseDuration(spec.timeout ?? TIMEOUT);
  if (typeof timeout === "string") fault("timeout", timeout);
  const whole = (name: "bytesMax" | "pagesMax", most: number) => {
    const value = spec[name];
    if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= most)) {
      fault(name, `${value} is not a whole number from 1 to ${most}`);
    }
  };
  whole("bytesMax", BYTES_MAX);
  whole("pagesMax", PAGES_MAX);
  if (spec.requestsPerSecond !== undefined && !(spec.requestsPerSecond > 0)) {
    fault("requestsPerSecond", `${spec.requestsPerSecond} is no number above 0`);
  }
  return faults;
}
