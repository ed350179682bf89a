/** What a store that speaks S3 has to be told. @module */

/** Of the settings' names, those that a store's answers may call wrong. */
export const S3_SETTINGS = {
  url: "TAILRACE_LAKE",
  endpoint: "TAILRACE_S3_ENDPOINT",
  region: "TAILRACE_S3_REGION",
  accessKeyId: "TAILRACE_S3_ACCESS_KEY_ID",
  secretAccessKey: "TAILRACE_S3_SECRET_ACCESS_KEY",
  sessionToken: "TAILRACE_S3_SESSION_TOKEN",
} as const;

export interface S3Options {
  /** Scheme, host and port: `https://minio.example:9000`; empty for Amazon's own in the region. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** With keys that are lent for a time; else empty. */
  readonly sessionToken: string;
  /** The bucket as the path's first part, not as part of the host's name; null for path style wherever there is an endpoint. */
  readonly pathStyle: boolean | null;
}

/** A bucket and what all keys begin with: `""` or with `/` at its end. */
export interface S3Place {
  readonly bucket: string;
  readonly root: string;
}

/** Takes `s3://bucket/prefix` apart; null when it is no such URL. */
export function parseS3Url(url: string): S3Place | null {
  const [, bucket, path = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(url) ?? [];
  if (bucket === undefined || bucket.includes("..")) return null;
  const parts = path.replace(/\/$/, "").split("/");
  if (path === "" || path === "/") return { bucket, root: "" };
  // What would need escapes in a URL is not taken: readers of the lake do not agree on them.
  if (!parts.every((part) => /^[\w.=@+-]+$/.test(part) && part !== "." && part !== "..")) return null;
  return { bucket, root: `${parts.join("/")}/` };
}

/** Where requests go, `/` at the end: objects' keys follow. */
export function baseUrl(options: S3Options, bucket: string): string {
  const china = options.region.startsWith("cn-") ? ".cn" : "";
  const endpoint = new URL(options.endpoint || `https://s3.${options.region}.amazonaws.com${china}`);
  // A certificate for *.host does not cover a bucket's name with a dot in it.
  const pathStyle = options.pathStyle ?? (options.endpoint !== "" || bucket.includes("."));
  return pathStyle ? `${endpoint.origin}/${bucket}/` : `${endpoint.protocol}//${bucket}.${endpoint.host}/`;
}
