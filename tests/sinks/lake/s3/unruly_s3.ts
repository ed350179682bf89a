/**
 * A small S3 store in this process that misbehaves on command: the answers a real one gives only when it is in trouble.
 *
 * It keeps to the protocol where it is not told otherwise; the contract suite says so.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { S3Options } from "../../../../pipeline/sinks/lake/s3/options.ts";

export interface Call {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: Uint8Array;
}

/** What happens instead of an answer, or with it. */
export type Trouble =
  /** A refusal; `done` first does what was asked. */
  | {
    readonly status: number;
    readonly code?: string;
    readonly more?: string;
    readonly headers?: Record<string, string>;
    /** In place of an error's own. */
    readonly body?: string;
    readonly done?: true;
  }
  /** The connection is closed without an answer; `done` first does what was asked. */
  | { readonly drop: true; readonly done?: true }
  /** Nothing comes; `done` first does what was asked. */
  | { readonly hang: true; readonly done?: true }
  /** The answer's head and so many bytes of its body come; then the connection closes, or nothing more comes. */
  | { readonly bodyBytes: number; readonly then: "close" | "hang" };

const WRITE = "x-amz-meta-tailrace-write";

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

export class UnrulyS3 implements AsyncDisposable {
  readonly objects = new Map<string, { bytes: Uint8Array; at: Date; write?: string }>();
  readonly uploads = new Map<string, Map<number, Uint8Array>>();
  readonly calls: Call[] = [];
  /** Asked before each answer; undefined for none. */
  trouble: (call: Call) => Trouble | undefined = () => undefined;
  /** Keys in a page of a list. */
  pageKeys = 1_000;
  /** Takes what has If-None-Match like anything else. */
  ignoresConditions = false;
  /** Keeps an object's bytes and nothing else of it. */
  forgetsMetadata = false;
  /** Requests being answered at once, at most, so far. */
  atOnceMax = 0;
  #atOnce = 0;
  #server = createServer((request, response) => void this.#serve(request, response));
  #port = 0;

  static async start(): Promise<UnrulyS3> {
    const store = new UnrulyS3();
    await new Promise<void>((resolve) => store.#server.listen(0, "127.0.0.1", resolve));
    store.#port = (store.#server.address() as AddressInfo).port;
    return store;
  }

  get s3(): S3Options {
    return {
      endpoint: `http://127.0.0.1:${this.#port}`,
      region: "us-east-1",
      accessKeyId: "key",
      secretAccessKey: "secret",
      sessionToken: "",
      pathStyle: null,
    };
  }

  /** Trouble for the next requests that match, one each; then none. */
  next(matches: (call: Call) => boolean, ...troubles: Trouble[]): void {
    this.trouble = (call) => matches(call) ? troubles.shift() : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, "http://store");
    const [, bucket, ...path] = url.pathname.split("/").map(decodeURIComponent);
    const sent = await buffer(request).catch(() => null);
    // Whoever asked did not wait for it to end.
    if (sent === null) return;
    const body = new Uint8Array(sent);
    const call: Call = {
      method: request.method!,
      bucket,
      key: path.join("/"),
      query: url.searchParams,
      headers: request.headers,
      body,
    };
    this.calls.push(call);
    this.atOnceMax = Math.max(this.atOnceMax, ++this.#atOnce);
    // So that others come meanwhile, if there are any.
    await new Promise((resolve) => setTimeout(resolve, 1));
    const trouble = this.trouble(call);
    const isDone = trouble === undefined || !("done" in trouble || "status" in trouble || "drop" in trouble) ||
      "done" in trouble;
    const answer = isDone && !(trouble && "hang" in trouble && !trouble.done) ? this.#answer(call) : null;
    this.#atOnce--;
    if (trouble === undefined) return send(response, answer!);
    if ("drop" in trouble) return void request.socket.destroy();
    if ("hang" in trouble) return;
    if ("status" in trouble) {
      const { status, code = "", more = "", headers, body } = trouble;
      return send(response, { status, headers, body: body ?? (code === "" ? "" : error(code, more)) });
    }
    const whole = Buffer.from(answer!.body ?? "");
    response.writeHead(answer!.status, { ...answer!.headers, "content-length": whole.length });
    response.write(whole.subarray(0, trouble.bodyBytes));
    if (trouble.then === "close") setTimeout(() => request.socket.destroy(), 5);
  }

  #answer(call: Call): Answer {
    const { method, key, query, headers, body } = call;
    const told = headers["x-amz-content-sha256"];
    if (told !== createHash("sha256").update(body).digest("hex")) return refused(400, "XAmzContentSHA256Mismatch");
    if (!/^AWS4-HMAC-SHA256 Credential=key\/\d{8}\/us-east-1\/s3\/aws4_request/.test(headers.authorization ?? "")) {
      return refused(403, "AccessDenied");
    }
    if (key === "") return method === "POST" && query.has("delete") ? this.#removeMany(call) : this.#list(query);
    if (query.has("uploads")) return this.#begin();
    if (query.has("uploadId")) return this.#part(call);
    if (method === "PUT") return this.#put(call);
    if (method === "DELETE") {
      this.objects.delete(key);
      return { status: 204 };
    }
    const found = this.objects.get(key);
    if (!found) return refused(404, "NoSuchKey");
    const write: Record<string, string> = found.write === undefined ? {} : { [WRITE]: found.write };
    return { status: 200, headers: { etag: tag(found.bytes), ...write }, body: found.bytes };
  }

  #put({ key, headers, body }: Call): Answer {
    if (headers["if-none-match"] === "*" && this.objects.has(key) && !this.ignoresConditions) {
      return refused(412, "PreconditionFailed");
    }
    const write = this.forgetsMetadata ? undefined : String(headers[WRITE] ?? "") || undefined;
    this.objects.set(key, { bytes: body, at: new Date(), write });
    return { status: 200, headers: { etag: tag(body) } };
  }

  #removeMany({ body, headers }: Call): Answer {
    if (headers["content-md5"] !== createHash("md5").update(body).digest("base64")) return refused(400, "BadDigest");
    const keys = [...new TextDecoder().decode(body).matchAll(/<Key>(.*?)<\/Key>/g)];
    if (keys.length > 1_000) return refused(400, "MalformedXML");
    for (const [, key] of keys) {
      this.objects.delete(key.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&"));
    }
    return { status: 200, body: "<DeleteResult/>" };
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
    const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && order(key, after) > 0).sort(order);
    const page = keys.slice(0, Math.min(this.pageKeys, Number(query.get("max-keys"))));
    const contents = page.map((key) => {
      const { bytes, at } = this.objects.get(key)!;
      return `<Contents><Key>${
        encodeURIComponent(key)
      }</Key><LastModified>${at.toISOString()}</LastModified><ETag>&quot;x&quot;</ETag>` +
        `<Size>${bytes.length}</Size></Contents>`;
    });
    const isMore = page.length < keys.length;
    const next = isMore
      ? `<NextContinuationToken>${(page.at(-1) ?? "again").replaceAll("&", "&amp;")}</NextContinuationToken>`
      : "";
    return {
      status: 200,
      body: `<?xml version="1.0"?><ListBucketResult xmlns="x"><EncodingType>url</EncodingType>` +
        `<IsTruncated>${isMore}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
    };
  }

  #begin(): Answer {
    const id = crypto.randomUUID();
    this.uploads.set(id, new Map());
    return {
      status: 200,
      body: `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    };
  }

  #part({ method, key, query, body }: Call): Answer {
    const id = query.get("uploadId")!;
    const parts = this.uploads.get(id);
    if (!parts) return refused(404, "NoSuchUpload");
    if (method === "PUT") {
      parts.set(Number(query.get("partNumber")), body);
      return { status: 200, headers: { etag: tag(body) } };
    }
    this.uploads.delete(id);
    if (method === "DELETE") return { status: 204 };
    const named = [...new TextDecoder().decode(body).matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g)];
    const bytes = named.map(([, number, etag]) => {
      const part = parts.get(Number(number))!;
      if (etag.replaceAll("&quot;", '"') !== tag(part)) throw new Error("InvalidPart");
      return part;
    });
    this.objects.set(key, { bytes: new Uint8Array(Buffer.concat(bytes)), at: new Date() });
    return { status: 200, body: `<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>` };
  }
}

function send(response: ServerResponse, { status, headers, body = "" }: Answer): void {
  response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function tag(bytes: Uint8Array): string {
  return `"${createHash("md5").update(bytes).digest("hex")}"`;
}

function refused(status: number, code: string): Answer {
  return { status, body: error(code) };
}

function error(code: string, more = ""): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>in words</Message>${more}</Error>`;
}
