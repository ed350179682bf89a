/**
 * A child as the process that started it has it: orders go in, messages and bytes come out, and it can be ended at any time.
 *
 * @module
 */
import { UnavailableError } from "../../pipeline/errors.ts";
import type { ChildMessage, ChildOrder } from "./child_protocol.ts";

/** A tree of the longest question has some 20 MB. */
const LINE_CHARACTERS_MAX = 64 * 1024 * 1024;
/** Of a child that crashed. */
const LAST_WORDS_CHARACTERS = 2_000;

/** How a child ended before it said what it was asked for. */
export class ChildEnded extends Error {
  override readonly name = "ChildEnded";
  readonly signal: Deno.Signal | null;
  /** What it wrote last that was no message. */
  readonly lastWords: string;

  constructor(status: Deno.CommandStatus, lastWords: string) {
    super(`the process of a question ended with ${status.signal ?? `code ${status.code}`}`);
    this.signal = status.signal;
    this.lastWords = lastWords;
  }
}

export class SqlChild {
  readonly #process: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array>;
  readonly #messages: AsyncGenerator<ChildMessage>;
  #lastWords = "";
  #isEnded = false;
  /** When it has ended and everything of it is let go. */
  readonly ended: Promise<void>;

  constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#orders = process.stdin.getWriter();
    this.#messages = this.#read();
    this.ended = process.status.then(() => {
      this.#isEnded = true;
    });
  }

  /** The answer's bytes. */
  get output(): ReadableStream<Uint8Array> {
    return this.#process.stdout;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @throws ChildEnded */
  async say(order: ChildOrder): Promise<void> {
    try {
      await this.#orders.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
    } catch {
      throw new ChildEnded(await this.#process.status, this.#lastWords);
    }
  }

  /** The next message. @throws ChildEnded when there is none any more */
  async hear(): Promise<ChildMessage> {
    const { done, value } = await this.#messages.next();
    if (!done) return value;
    throw new ChildEnded(await this.#process.status, this.#lastWords);
  }

  /** Ends it at once, and waits until it is gone. */
  async kill(): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#process.status;
    await this.#orders.close().catch(() => {});
    await this.#messages.return(undefined).catch(() => {});
    if (!this.#process.stdout.locked) await this.#process.stdout.cancel().catch(() => {});
  }

  async *#read(): AsyncGenerator<ChildMessage> {
    let rest: string[] = [];
    let length = 0;
    for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = text.split("\n");
      for (let i = 0; i < lines.length - 1; i++) {
        const line = rest.join("") + lines[i];
        rest = [];
        length = 0;
        if (line.startsWith('{"say":')) yield JSON.parse(line) as ChildMessage;
        else this.#lastWords = `${this.#lastWords}${line}\n`.slice(-LAST_WORDS_CHARACTERS);
      }
      const last = lines[lines.length - 1];
      rest.push(last);
      length += last.length;
      if (length > LINE_CHARACTERS_MAX) throw new UnavailableError("the process of a question says too much");
    }
  }
}
