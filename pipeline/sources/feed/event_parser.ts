/**
 * Server-sent events, as the WHATWG's HTML standard has them (section 9.2).
 *
 *     id: 17                 the position after this event
 *     event: price           its name; `message` without
 *     data: {"a":            lines of data are joined by line feeds
 *     data: 1}
 *     retry: 5000            milliseconds to wait before a new connection
 *     : comment
 *                            an empty line ends the event
 *
 * Of an event that is longer than may be the beginning is kept, and its id: whoever asks for what is behind it does not meet it
 * again.
 *
 * @module
 */
export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  /** Of this event or the last one before it that had one; null when none had. */
  readonly id: string | null;
  /** Only the beginning of the data is there: it is longer than may be. */
  readonly isCut: boolean;
}

/** Longest id that is kept, characters. */
const ID_CHARACTERS_MAX = 4_096;
const RETRY_MS_MAX = 3_600_000;
/** A field's name and colon, at most, beside its value. */
const NAME_CHARACTERS = 16;

export class EventParser {
  readonly #decoder = new TextDecoder();
  readonly #bytesMax: number;
  #rest = "";
  #data: string[] = [];
  #characters = 0;
  #name = "";
  #id: string | null;
  #retryMs: number | null = null;
  #isFirst = true;
  #isCut = false;
  /** In the middle of a line of which no more is kept. */
  #isSkipping = false;

  /** @param id of the last event of the connection before */
  constructor({ id, bytesMax }: { readonly id: string | null; readonly bytesMax: number }) {
    this.#id = id;
    this.#bytesMax = bytesMax;
  }

  /** What the server wants to be waited for before a new connection, milliseconds; null when it has not said. */
  get retryMs(): number | null {
    return this.#retryMs;
  }

  /** The events that end with this piece. */
  *take(piece: Uint8Array): Generator<ServerEvent> {
    let text = this.#rest + this.#decoder.decode(piece, { stream: true });
    if (this.#isFirst && text !== "") {
      this.#isFirst = false;
      if (text.startsWith("\ufeff")) text = text.slice(1);
    }
    let from = 0;
    for (;;) {
      const end = lineEnd(text, from);
      if (end === null) break;
      const event = this.#isSkipping ? null : this.#line(text.slice(from, end.at));
      this.#isSkipping = false;
      from = end.next;
      if (event) yield event;
    }
    this.#rest = text.slice(from);
    const longest = Math.max(this.#room, ID_CHARACTERS_MAX) + NAME_CHARACTERS;
    if (this.#isSkipping || this.#rest.length > longest) this.#skip();
  }

  get #room(): number {
    return Math.max(0, this.#bytesMax - this.#characters);
  }

  /** Drops the line that has begun, but for the beginning of data. */
  #skip(): void {
    if (!this.#isSkipping && this.#rest.startsWith("data:")) this.#line(this.#rest);
    this.#isSkipping = true;
    // It may be half of the line's end.
    this.#rest = this.#rest.endsWith("\r") ? "\r" : "";
  }

  #line(line: string): ServerEvent | null {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") {
      if (!this.#isCut) this.#data.push(value.slice(0, this.#room));
      this.#isCut ||= this.#characters + value.length > this.#bytesMax;
      this.#characters += value.length + 1;
    } else if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0") && value.length <= ID_CHARACTERS_MAX) this.#id = value;
    else if (field === "retry" && /^\d{1,12}$/.test(value)) this.#retryMs = Math.min(Number(value), RETRY_MS_MAX);
    return null;
  }

  #end(): ServerEvent | null {
    const event = this.#data.length === 0
      ? null
      : { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id, isCut: this.#isCut };
    this.#data = [];
    this.#characters = 0;
    this.#name = "";
    this.#isCut = false;
    return event;
  }
}

/** Lines end with CR LF, LF or CR; a CR at the very end may be half of the first. */
function lineEnd(text: string, from: number): { at: number; next: number } | null {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 10) return { at, next: at + 1 };
    if (code !== 13) continue;
    if (at + 1 === text.length) return null;
    return { at, next: text.charCodeAt(at + 1) === 10 ? at + 2 : at + 1 };
  }
  return null;
}
