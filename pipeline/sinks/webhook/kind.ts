/**
 * A webhook as a destination.
 *
 * @module
 */
import type { DeliveryContext, DeliveryKind } from "../../deliveries/delivery_spec.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { showUrl } from "../../net/guarded_fetch.ts";
import { headerFaults, headersOf } from "../../net/request_headers.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { isSecret } from "../../secrets.ts";
import type { WebhookSpec } from "./definition.ts";
import { WebhookSink } from "./webhook_sink.ts";

const BATCH_MAX = 10_000;
const CONCURRENCY_MAX = 64;
const OPTIONS: KnownOptions<WebhookSpec> = {
  url: true,
  headers: true,
  signingSecret: true,
  batch: true,
  concurrency: true,
  timeoutMs: true,
  allowPrivate: true,
};
const TIMEOUT_MS = { least: 100, most: 300_000 };
/** What the sink itself says. */
const OWN_HEADERS = new Set([
  ...["host", "content-length", "content-type", "transfer-encoding", "connection"],
  ...["idempotency-key", "x-tailrace-timestamp", "x-tailrace-signature", "x-tailrace-delivery"],
]);

export const webhookKind: DeliveryKind<WebhookSpec> = {
  check,
  describe: (spec) => `webhook ${shown(spec)}`,
  claim: (spec) => `webhook(${shown(spec)})`,
  // deno-lint-ignore require-await -- so that what is not set is a rejection
  async open(spec, context) {
    const { plan, secrets, clock } = context;
    return new WebhookSink({
      ...spec,
      url: urlOf(spec, context),
      headers: headersOf(spec.headers, secrets),
      signingSecret: spec.signingSecret && secrets.get(spec.signingSecret),
      delivery: plan.name,
      columns: plan.columns,
      clock,
    });
  },
};

function shown({ url }: WebhookSpec): string {
  return isSecret(url) ? `at the secret ${url.secret}` : showUrl(new URL(url));
}

function urlOf(spec: WebhookSpec, { secrets }: DeliveryContext): URL {
  const { url } = spec;
  if (!isSecret(url)) return new URL(url);
  const problem = urlFault(secrets.get(url), spec);
  if (problem !== null) throw new ConfigError({ where: `secret ${url.secret}`, problem });
  return new URL(secrets.get(url));
}

/** Does not quote it: it may be a secret. */
function urlFault(text: unknown, { headers, allowPrivate }: WebhookSpec): string | null {
  const url = typeof text === "string" ? URL.parse(text) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) return "is no http(s):// address";
  if (url.username !== "" || url.password !== "") return "has a user or password in it: give them as headers";
  if (url.protocol === "http:" && Object.values(headers).some(isSecret) && !allowPrivate) {
    return "is http:, which shows secrets to everyone on the way: use https:, or allowPrivate: true in your own network";
  }
  return null;
}

function check(spec: WebhookSpec): readonly Fault[] {
  const faults: Fault[] = unknownOptions(spec, OPTIONS, "webhook");
  const fault = (where: string, problem: string | null) => {
    if (problem !== null) faults.push({ where: `webhook.${where}`, problem });
  };
  const whole = (where: "batch" | "concurrency" | "timeoutMs", least: number, most: number) => {
    const value = spec[where];
    const isGood = Number.isInteger(value) && value >= least && value <= most;
    fault(where, isGood ? null : `${value} is not a whole number from ${least} to ${most}`);
  };
  if (!isSecret(spec.url)) fault("url", urlFault(spec.url, spec));
  whole("batch", 1, BATCH_MAX);
  whole("concurrency", 1, CONCURRENCY_MAX);
  whole("timeoutMs", TIMEOUT_MS.least, TIMEOUT_MS.most);
  faults.push(...headerFaults(spec.headers, "webhook.headers"));
  for (const [name, value] of Object.entries(spec.headers)) {
    if (OWN_HEADERS.has(name.toLowerCase())) fault("headers", `${name} is set by Tailrace`);
    if (/^authorization$|cookie|token|api-?key/i.test(name) && !isSecret(value)) {
      fault("headers", `${name} is a secret: write secret("..") for it`);
    }
  }
  return faults;
}
