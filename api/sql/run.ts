/**
 * One question from its place in the queue to its last byte: what it holds, how long it may, and what became of it.
 *
 * @module
 */
import type { Clock } from "../../pipeline/clock.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { QueryError } from "../deps.ts";
import type { Capture } from "./catalog.ts";
import type { ChildFailure, ChildMessage, View } from "./child_protocol.ts";
import type { ChildPool } from "./child_pool.ts";
import type { SqlLimits } from "./limits.ts";
import { type Analysis, analyze } from "./question.ts";
import { type Answer, type Question, SqlError } from "./service.ts";
import { ChildEnded, type SqlChild } from "./sql_child.ts";

export interface RunOptions {
  readonly limits: SqlLimits;
  readonly clock: Clock;
  readonly log: (message: string) => void;
  readonly pool: ChildPool;
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal;
}

export interface RunQuestion {
  readonly id: string;
  readonly question: Question;
  /** The text as DuckDB gets it. */
  readonly sql: string;
  /** Whether that is the text that was sent, so that DuckDB's places in it mean something. */
  readonly isAsSent: boolean;
  readonly views: readonly View[];
  readonly capture: Capture;
}

export class Run {
  readonly id: string = crypto.randomUUID();
  readonly #options: RunOptions;
  readonly #stop = new AbortController();
  readonly #ended = new AbortController();
  readonly #cleanups: (() => unknown)[] = [];
  #child: SqlChild | null = null;
  /** Whether the child has been given more than texts to parse. */
  #isAsked = false;
  #workLeftMs: number;
  #ending: Promise<void> | null = null;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#workLeftMs = options.limits.answerMs;
    const { signal } = options;
    const leave = () => this.stop(new SqlError("cancelled", "nobody waits for the answer any more"));
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    this.whenOver(() => signal.removeEventListener("abort", leave));
  }

  /** Does it when the question is over, however it ends; what it returns is waited for. */
  whenOver(cleanup: () => unknown): void {
    // What was under way when the question ended comes too late for the others.
    if (this.#ending !== null) cleanup();
    else this.#cleanups.push(cleanup);
  }

  /** Gives up, for this reason. */
  stop(reason: Error): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(reason);
    // What reads from it finds its end.
    void this.#child?.kill();
  }

  /** Lets go of everything; more than once is no harm. */
  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    this.#ended.abort();
    const child = this.#child;
    // One that has only parsed is as good as new: most of what is refused costs no process.
    if (child !== null && !this.#isAsked && !this.#stop.signal.aborted) await this.#options.pool.giveBack(child);
    else await child?.kill();
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    this.#options.pool.prepare();
  }

  /** Waits in the queue. @throws SqlError (`busy`) after too long */
  async waiting<T>(enter: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { limits: { waitMs } } = this.#options;
    return await this.#within(
      waitMs,
      new SqlError("busy", `no turn came up in ${waitMs / 1000} s`),
      () => enter(this.#stop.signal),
    );
  }

  /** Takes a child. @throws UnavailableError */
  async begin(): Promise<void> {
    const { pool } = this.#options;
    const child = await pool.take();
    if (this.#stop.signal.aborted) {
      await pool.giveBack(child);
      throw this.#stop.signal.reason;
    }
    this.#child = child;
  }

  /** Parses a text and looks at it. @throws SqlError */
  async analyzed(sql: string): Promise<Analysis> {
    const child = this.#child!;
    const told = await this.#working(async () => {
      await child.say({ do: "parse", sql });
      return await child.hear();
    });
    if (told.say === "failed") throw errorOf(told);
    if (told.say !== "tree") throw new Error(`a child answered "${told.say}" to parse`);
    const syntax = syntaxFault(sql, told.tree);
    if (syntax !== null) throw syntax;
    return analyze(sql, told.tree);
  }

  /** Captures relations, and lets go of them at the end. */
  async captured(capture: (signal: AbortSignal) => Promise<Capture>): Promise<Capture> {
    const made = await this.#working(() => capture(this.#stop.signal));
    this.whenOver(() => made[Symbol.asyncDispose]());
    this.#stop.signal.throwIfAborted();
    return made;
  }

  /** Asks; resolves when the answer is there, or so much of it that it has to be sent. @throws SqlError @throws UnavailableError */
  async answer({ id, question, sql, isAsSent, views, capture }: RunQuestion): Promise<Answer> {
    const { limits } = this.#options;
    const child = this.#child!;
    const { format, limit, parameters = {} } = question;
    const asked = limit ?? (format === "json" ? limits.jsonRows : null);
    const { completeness, notes = [] } = capture;
    this.#isAsked = true;
    await child.say({
      do: "run",
      sql,
      parameters,
      views,
      format,
      rowsMax: Math.min(asked ?? limits.rowsMax, limits.rowsMax),
      isCut: asked !== null,
      completeness,
      notes,
      memoryBytesMax: limits.memoryBytesMax,
      threads: limits.threads,
    });
    const reader = child.output.getReader();
    this.whenOver(() => reader.cancel().catch(() => {}));
    let bytes = 0;
    /** Null at the end of a whole answer. */
    const read = async (): Promise<Uint8Array | null> => {
      const { done, value } = await this.#working(() => reader.read());
      this.#stop.signal.throwIfAborted();
      if (done) return null;
      bytes += value.length;
      if (bytes <= limits.bytesMax) return value;
      throw new SqlError("limit", `the answer has more than ${limits.bytesMax} bytes: ask for fewer rows or columns`);
    };
    const told = async () => {
      const message = await this.#working(() => child.hear());
      if (message.say === "failed") throw errorOf(isAsSent ? message : { ...message, at: null });
      return message as ChildMessage & { readonly say: "done" };
    };
    const held: Uint8Array[] = [];
    const head = { id, format, completeness, notes };
    while (bytes < limits.heldBytes) {
      const piece = await read();
      if (piece !== null) {
        held.push(piece);
        continue;
      }
      const { isTruncated } = await told();
      // Nothing is left to be done for it: how slowly it is read does not matter.
      await this.end();
      return { ...head, isTruncated, body: bodyOf(held) };
    }
    return { ...head, isTruncated: null, body: this.#streamed(held, { read, told }) };
  }

  #streamed(
    held: Uint8Array[],
    { read, told }: { readonly read: () => Promise<Uint8Array | null>; readonly told: () => Promise<unknown> },
  ): ReadableStream<Uint8Array> {
    const { clock, limits: { stallMs, totalMs } } = this.#options;
    const tooSlow = (ms: number) => new SqlError("limit", `the answer was not read within ${ms / 1000} s`);
    let cut: (error: unknown) => void = () => {};
    const alarm = (ms: number, signal: AbortSignal) => {
      clock.sleep(ms, signal).then(() => cut(tooSlow(ms)), () => {});
    };
    let pause = new AbortController();
    return new ReadableStream({
      start: (controller) => {
        cut = (error) => {
          this.stop(error as Error);
          controller.error(error);
          void this.end();
        };
        alarm(totalMs, this.#ended.signal);
        alarm(stallMs, AbortSignal.any([pause.signal, this.#ended.signal]));
      },
      pull: async (controller) => {
        pause.abort();
        pause = new AbortController();
        try {
          const piece = held.shift() ?? await read();
          if (piece === null) {
            await told();
            await this.end();
            controller.close();
            return;
          }
          controller.enqueue(piece);
          alarm(stallMs, AbortSignal.any([pause.signal, this.#ended.signal]));
        } catch (error) {
          const reason = this.reasonFor(error);
          this.#options.log(`an answer in SQL was broken off: ${reason.message}`);
          cut(reason);
        }
      },
      cancel: async () => {
        pause.abort();
        this.stop(new SqlError("cancelled", "nobody reads the answer any more"));
        await this.end();
      },
    }, { highWaterMark: 0 });
  }

  /** What to tell whoever asked: why we gave up where we did, and not what came of it. */
  reasonFor(error: unknown): Error {
    if (this.#stop.signal.aborted) return this.#stop.signal.reason;
    if (error instanceof QueryError) return new SqlError("syntax", error.message);
    if (!(error instanceof ChildEnded)) return error as Error;
    const { signal, lastWords } = error;
    this.#options.log(`${error.message}; it said last: ${lastWords.trim() || "nothing"}`);
    return new SqlError(
      "limit",
      signal === "SIGXCPU"
        ? "it takes more processor time than a question may"
        : "it takes more memory than a question may, or is nested too deep: its process ended over it",
    );
  }

  /** Work of ours, which is counted; what the reader takes is not. */
  async #working<T>(work: () => Promise<T>): Promise<T> {
    const { limits: { answerMs }, clock } = this.#options;
    const startedAt = clock.monotonic();
    const late = new SqlError("limit", `it takes more than ${answerMs / 1000} s: ask for less, or with a condition`);
    try {
      return await this.#within(Math.max(0, this.#workLeftMs), late, work);
    } finally {
      this.#workLeftMs -= clock.monotonic() - startedAt;
    }
  }

  async #within<T>(ms: number, late: SqlError, work: () => Promise<T>): Promise<T> {
    const done = new AbortController();
    this.#options.clock.sleep(ms, done.signal).then(() => this.stop(late), () => {});
    try {
      return await work();
    } finally {
      done.abort();
    }
  }
}

function bodyOf(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const left = [...pieces];
  return new ReadableStream({
    pull(controller) {
      const piece = left.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
  });
}

function errorOf({ kind, message, at }: ChildFailure): Error {
  if (kind === "broken") return new UnavailableError(`the lake cannot be read just now: ${message}`);
  return new SqlError(kind, message, at);
}

interface Serialized {
  readonly error?: boolean;
  readonly error_message?: string;
  /** In characters, unlike places in the tree. */
  readonly position?: string;
}

function syntaxFault(sql: string, tree: unknown): SqlError | null {
  const { error, error_message: message = "syntax error", position } = tree as Serialized;
  if (!error) return null;
  if (message.startsWith("Only SELECT")) return new SqlError("syntax", "only SELECT is answered here");
  const [line] = message.replace(/\.? *Use "SET .*/s, "").split("\n");
  const at = position === undefined ? null : [...sql].slice(0, Number(position)).join("").length;
  return new SqlError("syntax", line.length > 300 ? `${line.slice(0, 300)}...` : line, at);
}
