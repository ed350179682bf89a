/**
 * Sorts a store's refusals: those that pass, and those that somebody has to mend, with the setting to change.
 *
 *     HTTP/1.1 403 Forbidden
 *
 *     <Error><Code>SignatureDoesNotMatch</Code><Message>...</Message></Error>
 *
 * Source of the codes: Amazon S3 API reference, error responses.
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import { S3_SETTINGS } from "./options.ts";
import { textOf } from "./xml.ts";

/** A server's words are cut where they get long. */
const MESSAGE_CHARACTERS_MAX = 300;

/** What came instead of what was asked for. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  /** S3's word for it; empty when the answer has none, as those of HEAD and of what stands before the store. */
  readonly code: string;
  readonly headers: Headers;
  readonly body: string;

  constructor(status: number, headers: Headers, body: string) {
    const code = textOf(body, "Code");
    const message = textOf(body, "Message").slice(0, MESSAGE_CHARACTERS_MAX);
    super([status || "", code, message].filter((part) => part !== "").join(" "));
    this.status = status;
    this.code = code;
    this.headers = headers;
    this.body = body;
  }
}

/** The store is busy with the same key, or asks for patience. Whatever else is 5xx, 408 or 429 passes too. */
const PASSING = new Set([
  "BandwidthLimitExceeded",
  "ConditionalRequestConflict",
  "InternalError",
  "OperationAborted",
  "RequestTimeout",
  "ServiceUnavailable",
  "SlowDown",
  "Throttling",
  "ThrottlingException",
]);

/** What was sent did not arrive as it was sent. */
const DAMAGED = new Set(["BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"]);

/** Whether the same request may succeed later. */
export function isPassing({ status, code }: Refusal): boolean {
  if (status === 501 || code === "NotImplemented") return false;
  return status >= 500 || status === 408 || status === 429 || PASSING.has(code) || DAMAGED.has(code);
}

/** After this the store may have done what was asked. */
export function isUncertain({ status }: Refusal): boolean {
  return status >= 500;
}

/** What to tell of a refusal that does not pass. `doing` says what was asked for, `GET s3://bucket/key`. */
export function refusedForGood(
  refusal: Refusal,
  { doing, nowMs, bucket }: { readonly doing: string; readonly nowMs: number; readonly bucket: string },
): ConfigError {
  const { status, code } = refusal;
  const said = `${doing} is refused: ${refusal.message}`;
  const because = (where: string, advice: string) => new ConfigError({ where, problem: `${said}; ${advice}` });
  switch (code) {
    case "RequestTimeTooSkewed":
      return because("clock", clocks(refusal, nowMs));
    case "InvalidAccessKeyId":
    case "XAdminUserNotFound":
      return because(S3_SETTINGS.accessKeyId, "the store does not know this key");
    case "SignatureDoesNotMatch":
      return because(S3_SETTINGS.secretAccessKey, "it does not belong to the access key");
    case "ExpiredToken":
    case "InvalidToken":
      return because(S3_SETTINGS.sessionToken, "give new keys with their token");
    case "NoSuchBucket":
      return because(S3_SETTINGS.url, `make the bucket ${bucket} or name another`);
    case "InvalidBucketName":
      return because(S3_SETTINGS.url, "name another bucket");
    case "AuthorizationHeaderMalformed":
    case "IllegalLocationConstraintException":
    case "PermanentRedirect":
      return because(S3_SETTINGS.region, region(refusal));
    case "NotImplemented":
      return because(
        S3_SETTINGS.endpoint,
        "a lake needs a store that knows PutObject with If-None-Match: *, and multipart uploads",
      );
  }
  if (status >= 300 && status < 400) return because(S3_SETTINGS.region, region(refusal));
  if (status === 401 || status === 403) {
    return because(
      S3_SETTINGS.accessKeyId,
      "the key needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the lake's objects and " +
        "s3:ListBucket on the bucket",
    );
  }
  return because(S3_SETTINGS.endpoint, "is it an S3 store's?");
}

function clocks({ headers, body }: Refusal, nowMs: number): string {
  const theirs = Date.parse(textOf(body, "ServerTime") || headers.get("date") || "");
  const ours = `this machine's clock says ${new Date(nowMs).toISOString()}`;
  return Number.isNaN(theirs)
    ? `${ours}: set it right`
    : `${ours}, the store's ${new Date(theirs).toISOString()}: set the wrong one right`;
}

function region({ headers, body }: Refusal): string {
  const theirs = headers.get("x-amz-bucket-region") ?? textOf(body, "Region");
  const address = textOf(body, "Endpoint");
  if (theirs !== "") return `the bucket is in ${theirs}`;
  return address !== "" ? `the bucket answers at ${address}` : "the bucket is in another region or at another address";
}
