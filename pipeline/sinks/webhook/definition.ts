/**
 * How a webhook is written down as a destination.
 *
 * @module
 */
import type { SecretReference } from "../../secrets.ts";

export interface WebhookOptions {
  /** Where batches are posted to, http:// or https://; by reference where the address itself is a secret. */
  readonly url: string | SecretReference;
  /** Further headers, such as `{ authorization: secret("shop_webhook_token") }`. */
  readonly headers?: Readonly<Record<string, string | SecretReference>>;
  /** The key of a signature (HMAC-SHA256) by which the receiver knows the sender; none unless told. */
  readonly signingSecret?: SecretReference;
  /** Records in a request at most; 100 unless told. */
  readonly batch?: number;
  /** Requests under way at the same time, each of another partition; 4 unless told. */
  readonly concurrency?: number;
  /** How long an answer may take, milliseconds; 30,000 unless told. */
  readonly timeoutMs?: number;
  /** Whether the address may be of this machine or a private network; no, unless told. */
  readonly allowPrivate?: boolean;
}

export interface WebhookSpec {
  readonly kind: "webhook";
  readonly url: string | SecretReference;
  readonly headers: Readonly<Record<string, string | SecretReference>>;
  readonly signingSecret: SecretReference | null;
  readonly batch: number;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly allowPrivate: boolean;
}

/** Posts records, in JSON, some at a time, those of a partition in order. */
export function webhook(options: WebhookOptions): WebhookSpec {
  return {
    // What is no option is told when this is checked.
    ...options,
    kind: "webhook",
    url: options.url,
    headers: options.headers ?? {},
    signingSecret: options.signingSecret ?? null,
    batch: options.batch ?? 100,
    concurrency: options.concurrency ?? 4,
    timeoutMs: options.timeoutMs ?? 30_000,
    allowPrivate: options.allowPrivate ?? false,
  };
}
