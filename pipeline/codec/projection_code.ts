/**
 * Writes the JavaScript of a decoder for one writer schema and the wanted fields.
 *
 * The code keeps one promise at every field boundary, `at + rest <= end`, where `rest` is the fewest bytes that all that
 * follows can take. So fixed-size fields and the first byte of a variable-size one need no check of their own; only after
 * something of variable size the promise is checked again. Multi-byte integers are read without asking for `end` while ten
 * bytes remain in the buffer (`at <= safe`): reading into the next record is harmless, as the check follows and the row is
 * only kept when it ends exactly at `end`.
 *
 * Nothing from a schema gets into the code but numbers: names appear in `reasons` and tables only.
 *
 * @module
 */
import { columnKind, type FieldType } from "../columns.ts";
import { FRAME_BYTES } from "./framing.ts";
import { type Constant, leafMatches, symbolMap, writerField } from "./resolve.ts";
import { type AvroType, describe, leastBytes, type RecordType } from "./schema.ts";
import { columnsIn, defaultsOf, mismatch, type Wanted } from "./wanted.ts";

/** Records inside records that contain themselves are read this deep; deeper ones make the row bad. */
export const VALUE_DEPTH_MAX = 64;
/** Items that take no bytes (nulls, empty records) in one block of an array; more make the row bad. */
export const EMPTY_ITEMS_MAX = 65_536;

/** From this many types on the code calls functions where it would otherwise repeat itself: V8 gives up on huge functions. */
const COMPACT_FROM = 64;
/** Types skipped by one generated function when the code is compact. */
const SKIPPED_PER_FUNCTION = 24;

/** What fills a column, found out in a first pass over the schema. */
export interface ColumnUse {
  /** Written row by row from the record's bytes. */
  wire: boolean;
  /** Written row by row with text made from 16 bytes. */
  text: boolean;
  /** Set to null row by row. */
  nulls: boolean;
  /** Defaults, one for each place in the writer's schema that lacks the field. */
  constants: Constant[];
}

/** Whether a column is the same constant in every row, so that it is filled once per chunk. */
export function isFilled(use: ColumnUse): boolean {
  return !use.wire && !use.text && !use.nulls && use.constants.length === 1;
}

/** Whether rows set a column's null flags one by one. */
export function isNullByRow(use: ColumnUse): boolean {
  return use.nulls || (!isFilled(use) && use.constants.some(({ kind }) => kind === "null"));
}

/** Whether a bytes column needs a buffer of its own, because its values do not all lie in the records' bytes. */
export function isOwned(use: ColumnUse, type: FieldType): boolean {
  const constants = use.constants.filter(({ kind }) => kind === "bytes").length;
  return columnKind(type) === "bytes" && !isFilled(use) && (use.text || constants > 0);
}

export interface GeneratedCode {
  /** Body of a function of the names in `projection.ts`; returns the row loop. */
  readonly source: string;
  readonly uses: readonly ColumnUse[];
  /** What a failure's number means, given its detail. */
  readonly reasons: readonly ((detail: number) => string)[];
  /** Symbol maps, by number. */
  readonly tables: readonly Int32Array[];
}

export function generate(writer: AvroType, wanted: Wanted, types: readonly FieldType[]): GeneratedCode {
  const uses = types.map((): ColumnUse => ({ wire: false, text: false, nulls: false, constants: [] }));
  // The first pass finds out what fills each column, the second writes the code knowing it.
  new Generator(writer, types, uses, false).row(wanted);
  return new Generator(writer, types, uses, true).row(wanted);
}

/** Where code stands: how a failure leaves it, and how much must follow. */
interface Place {
  readonly leave: "break row" | "return -1";
  readonly depth: "0" | "depth";
  /** The fewest bytes that follow. */
  readonly rest: number;
  /** Dotted path, for reasons. */
  readonly path: string;
}

class Generator {
  readonly #writer: AvroType;
  readonly #types: readonly FieldType[];
  readonly #uses: ColumnUse[];
  /** False in the first pass, which only fills `#uses`. */
  readonly #final: boolean;
  readonly #compact: boolean;
  readonly #shared: ReadonlySet<RecordType>;
  readonly #functions = new Map<RecordType, string>();
  readonly #code: string[] = [];
  readonly #reasons: ((detail: number) => string)[] = [];
  readonly #tables: Int32Array[] = [];
  readonly #constantsMet = new Map<number, number>();

  constructor(writer: AvroType, types: readonly FieldType[], uses: ColumnUse[], final: boolean) {
    this.#writer = writer;
    this.#types = types;
    this.#uses = uses;
    this.#final = final;
    this.#shared = sharedRecords(writer);
    this.#compact = countTypes(writer, this.#shared) > COMPACT_FROM;
  }

  row(wanted: Wanted): GeneratedCode {
    const place: Place = { leave: "break row", depth: "0", rest: 0, path: "" };
    const least = leastBytes(this.#writer);
    const body = wanted.inside.length > 0 ? this.#read(this.#writer, wanted, place) : this.#skip(this.#writer, place);
    const columns = this.#types.map((type, i) => {
      const array = columnKind(type) === "f64" ? "floats" : "ints";
      return `const v${i} = out.columns[${i}].${array}, n${i} = out.columns[${i}].nulls;`;
    });
    const source = `"use strict";
let fault = 0, detail = 0;
${this.#code.join("\n")}
return function rows(records, data, from, to, out, explain) {
const view = records.view, starts = records.valueStart, ends = records.valueEnd, source = out.source;
const safe = data.length - 10;
${columns.join("\n")}
let n = 0;
for (let r = from; r < to; r++) {
const start = starts[r], end = ends[r];
let at = start + ${FRAME_BYTES};
row: {
if (start < 0) ${this.#fail(place, () => "the value is null")}
if (end - start < ${FRAME_BYTES} || data[start] !== 0) ${
      this.#fail(place, (detail) =>
        `no Confluent framing: the value of ${detail} bytes does not begin with 0 and a schema id`, "end - start")
    }
if (at > end - ${least}) ${
      this.#fail(place, (detail) =>
        `the value has ${detail} bytes after the schema id, fewer than the ${least} any such record takes`, "end - at")
    }
${body}
if (at !== end) ${this.#fail(place, (detail) => `${detail} bytes follow the record`, "end - at")}
source[n++] = r;
continue;
}
explain(r, fault, detail);
}
return n;
};`;
    return { source, uses: this.#uses, reasons: this.#reasons, tables: this.#tables };
  }

  // ---- wanted values

  #read(writer: AvroType, wanted: Wanted, place: Place): string {
    if (writer.kind === "union") {
      return this.#union(writer.branches, place, (branch, inside) => {
        const problem = mismatch(branch, wanted, place.path);
        if (problem !== null) return this.#fail(inside, () => problem);
        return this.#read(branch, wanted, inside);
      });
    }
    if (writer.kind === "null") return columnsIn(wanted).map((column) => this.#setNull(column)).join(" ");
    if (wanted.column >= 0) return this.#leaf(writer, wanted, place);
    if (writer.kind !== "record") throw new TypeError(`${describe(writer)} is not a record`);
    return this.#readRecord(writer, wanted, place);
  }

  #readRecord(writer: RecordType, wanted: Wanted, place: Place): string {
    const code: string[] = [];
    const from = new Map(wanted.inside.map(({ field, wanted }) => [writerField(writer, field), wanted]));
    for (const { field, wanted: inner } of wanted.inside) {
      if (writerField(writer, field) !== undefined) continue;
      for (const [column, constant] of defaultsOf(inner, field)) code.push(this.#constant(column, constant));
    }
    code.push(this.#fields(writer, place, (field, inside) => {
      const inner = from.get(field);
      return inner === undefined ? null : this.#read(field.type, inner, inside);
    }));
    return code.join("\n");
  }

  #leaf(writer: AvroType, wanted: Wanted, place: Place): string {
    const i = wanted.column;
    const type = this.#types[i];
    if (!leafMatches(writer, wanted.type)) throw new TypeError(`${describe(writer)} is not ${describe(wanted.type)}`);
    const present = isNullByRow(this.#uses[i]) ? `n${i}[n] = 0;` : "";
    return `${this.#leafValue(writer, wanted, type, place)} ${present}`;
  }

  #leafValue(writer: AvroType, wanted: Wanted, type: FieldType, place: Place): string {
    const i = wanted.column;
    if (type.type === "decimal") return this.#decimal(writer, type, i, place);
    if (type.type === "uuid" && writer.kind === "fixed") {
      this.#uses[i].text = true;
      return `{ const p = own[${i}].uuid(data, at); v${i}[2 * n] = p; v${i}[2 * n + 1] = p + 36; at += 16; }`;
    }
    this.#uses[i].wire = true;
    switch (writer.kind) {
      case "boolean":
        return `{ const b = data[at++]; if (b > 1) ${this.#notBoolean(place)} v${i}[n] = b; }`;
      case "int":
        if (type.type === "float") return this.#int(place, `v${i}[n] = Math.fround(x);`);
        if (columnKind(type) === "i64") return this.#int(place, `v${i}[2 * n] = x; v${i}[2 * n + 1] = x >> 31;`);
        return this.#int(place, `v${i}[n] = x;`);
      case "long":
        if (columnKind(type) === "i64") return this.#long(place, `v${i}[2 * n] = lo; v${i}[2 * n + 1] = hi;`);
        return this.#long(
          place,
          `v${i}[n] = ${type.type === "float" ? "Math.fround" : ""}(hi * 4294967296 + (lo >>> 0));`,
        );
      case "float":
        return `v${i}[n] = view.getFloat32(at, true); at += 4;`;
      case "double":
        return `v${i}[n] = view.getFloat64(at, true); at += 8;`;
      case "fixed":
        return `${this.#bytes(i, "at", `at + ${writer.size}`)} at += ${writer.size};`;
      case "enum": {
        const reader = wanted.type.kind === "enum" ? wanted.type : writer;
        const map = symbolMap(writer.symbols, reader.symbols, reader.default);
        if (map.every((to, from) => to === from)) return this.#enum(writer.symbols, place, `v${i}[n] = x;`);
        const table = this.#tables.push(map) - 1;
        const unknown = this.#fail(
          place,
          (detail) => `${place.path}: the reader knows no symbol ${writer.symbols[detail]}`,
          "x",
        );
        return this.#enum(
          writer.symbols,
          place,
          `const y = tables[${table}][x]; if (y < 0) ${unknown} v${i}[n] = y;`,
        );
      }
      case "string":
      case "bytes": {
        const uuid = this.#fail(place, () => `${place.path}: not the text of a UUID`);
        const check = type.type === "uuid" ? `if (!isUuidText(data, at, at + x)) ${uuid}` : "";
        return this.#length(place, `${check} ${this.#bytes(i, "at", "at + x")} at += x;`);
      }
      default:
        throw new TypeError(`${describe(writer)} cannot fill a column`);
    }
  }

  #decimal(writer: AvroType, type: FieldType & { type: "decimal" }, i: number, place: Place): string {
    this.#uses[i].wire = true;
    const unfit = this.#fail(
      place,
      (detail) =>
        detail === 0
          ? `${place.path}: a decimal without bytes`
          : `${place.path}: a decimal of ${detail} bytes has more than ${type.precision} digits`,
      "x",
    );
    const narrow = columnKind(type) === "i64";
    const use = narrow
      ? `if (!decimalToWords(data, at, at + x, v${i}, n, limits[${i}])) ${unfit} at += x;`
      : `{ const first = decimalStart(data, at, at + x, limits[${i}]); if (first < 0) ${unfit} ${
        this.#bytes(i, "first", "at + x")
      } at += x; }`;
    return writer.kind === "fixed" ? `{ const x = ${writer.size}; ${use} }` : this.#length(place, use);
  }

  /** A bytes column's value: its place in the data, or a copy where the column has its own buffer. */
  #bytes(i: number, start: string, end: string): string {
    if (!isOwned(this.#uses[i], this.#types[i])) return `v${i}[2 * n] = ${start}; v${i}[2 * n + 1] = ${end};`;
    return `{ const s = ${start}, e = ${end}, p = own[${i}].copy(data, s, e); v${i}[2 * n] = p; v${i}[2 * n + 1] = p + e - s; }`;
  }

  #setNull(column: number): string {
    this.#uses[column].nulls = true;
    return `n${column}[n] = 1;`;
  }

  #constant(i: number, constant: Constant): string {
    const use = this.#uses[i];
    const met = this.#constantsMet.get(i) ?? 0;
    this.#constantsMet.set(i, met + 1);
    if (!this.#final) {
      use.constants.push(constant);
      return "";
    }
    if (isFilled(use)) return "";
    if (constant.kind === "null") return `n${i}[n] = 1;`;
    const present = isNullByRow(use) ? ` n${i}[n] = 0;` : "";
    switch (constant.kind) {
      case "i32":
        return `v${i}[n] = ${constant.value};${present}`;
      case "i64":
        return `v${i}[2 * n] = ${constant.low}; v${i}[2 * n + 1] = ${constant.high};${present}`;
      case "f64":
        return `v${i}[n] = uses[${i}].constants[${met}].value;${present}`;
      case "bytes":
        return `v${i}[2 * n] = own[${i}].starts[${met}]; v${i}[2 * n + 1] = own[${i}].ends[${met}];${present}`;
    }
  }

  // ---- skipped values

  #skip(type: AvroType, place: Place): string {
    switch (type.kind) {
      case "null":
        return "";
      case "boolean":
        return `if (data[at++] > 1) ${this.#notBoolean(place)}`;
      case "int":
        return this.#int(place, "");
      case "long":
        return this.#long(place, "");
      case "float":
        return "at += 4;";
      case "double":
        return "at += 8;";
      case "fixed":
        return `at += ${type.size};`;
      case "string":
      case "bytes":
        return this.#length(place, "at += x;");
      case "enum":
        return this.#enum(type.symbols, place, "");
      case "union":
        return this.#union(type.branches, place, (branch, inside) => this.#skip(branch, inside));
      case "array":
        return this.#blocks(leastBytes(type.items), place, (inside) => this.#skip(type.items, inside));
      case "map": {
        const least = leastBytes(type.values);
        return this.#blocks(
          1 + least,
          place,
          (inside) =>
            this.#length({ ...inside, rest: inside.rest + least }, "at += x;") + this.#skip(type.values, inside),
        );
      }
      case "record":
        if (!this.#shared.has(type)) return this.#fields(type, place, () => null);
        return this.#call(this.#recordFunction(type), place);
    }
  }

  /** The fields of a record in order: `read` gives the code of a wanted one, null for one to skip. */
  #fields(
    record: RecordType,
    place: Place,
    read: (field: RecordType["fields"][number], place: Place) => string | null,
  ): string {
    const code: string[] = [];
    let rest = place.rest + record.least;
    let run: { type: AvroType; path: string }[] = [];
    let runTypes = 0;
    const flush = (restAfter: number) => {
      if (run.length > 0) code.push(this.#run(run, runTypes, { ...place, rest: restAfter }));
      run = [];
      runTypes = 0;
    };
    for (const field of record.fields) {
      const path = place.path === "" ? field.name : `${place.path}.${field.name}`;
      const restBefore = rest;
      rest -= leastBytes(field.type);
      const wanted = read(field, { ...place, rest, path });
      if (wanted !== null) {
        flush(restBefore);
        code.push(wanted);
        continue;
      }
      run.push({ type: field.type, path });
      runTypes += countTypes(field.type, this.#shared);
      if (runTypes >= SKIPPED_PER_FUNCTION) flush(rest);
    }
    flush(rest);
    return code.join("\n");
  }

  /** Fields to skip one after the other; a function of its own when there is much of that. */
  #run(run: readonly { type: AvroType; path: string }[], types: number, place: Place): string {
    const apart = this.#compact && types >= SKIPPED_PER_FUNCTION;
    let rest = (apart ? 0 : place.rest) + run.reduce((sum, { type }) => sum + leastBytes(type), 0);
    const code = run.map(({ type, path }) => {
      rest -= leastBytes(type);
      return this.#skip(type, apart ? { leave: "return -1", depth: "depth", rest, path } : { ...place, rest, path });
    }).join("\n");
    if (!apart) return code;
    const name = `s${this.#code.length}`;
    this.#code.push(`function ${name}(data, at, end, safe, depth) {\n${code}\nreturn at;\n}`);
    return this.#call(name, place, 0);
  }

  #recordFunction(record: RecordType): string {
    const known = this.#functions.get(record);
    if (known) return known;
    const name = `r${this.#functions.size}`;
    this.#functions.set(record, name);
    const place: Place = { leave: "return -1", depth: "depth", rest: 0, path: record.name };
    const body = this.#fields(record, place, () => null);
    const deep = this.#fail(place, () => `records ${record.name} inside each other more than ${VALUE_DEPTH_MAX} deep`);
    this.#code.push(
      `function ${name}(data, at, end, safe, depth) {\nif (depth > ${VALUE_DEPTH_MAX}) ${deep}\n${body}\nreturn at;\n}`,
    );
    return name;
  }

  #call(name: string, place: Place, deeper = 1): string {
    return `at = ${name}(data, at, end - ${place.rest}, safe, ${place.depth} + ${deeper}); if (at < 0) ${place.leave};`;
  }

  // ---- pieces

  /** Registers a reason; the code that fails with it. */
  #fail(place: Place, reason: (detail: number) => string, detail = "0"): string {
    const index = this.#reasons.push(reason) - 1;
    return `{ fault = ${index}; detail = ${detail}; ${place.leave}; }`;
  }

  #notBoolean(place: Place): string {
    return this.#fail(place, (detail) => `${place.path}: a boolean is 0 or 1, not ${detail}`, "data[at - 1]");
  }

  /** Code for a position that `readLong` or `readInt` could not give. */
  #unreadable(place: Place, bytes: number): string {
    const reason = (detail: number) =>
      detail === -2
        ? `${place.path}: an integer of more than ${bytes} bytes`
        : `${place.path}: the value ends inside it`;
    return `if (at < 0) ${this.#fail(place, reason, "at")}`;
  }

  /** Checks the promise again after something of variable size. */
  #check(place: Place, more = 0): string {
    return `if (at > end - ${place.rest + more}) ${
      this.#fail(place, () => `${place.path}: the value ends inside or after it`)
    }`;
  }

  /** An int in `x`. */
  #int(place: Place, use: string): string {
    const careful = `at = readInt(data, at, end, words); ${this.#unreadable(place, 5)} ${this.#check(place)}`;
    if (use === "") return `if (data[at] < 128) at++; else { ${careful} }`;
    return `{ let x = data[at]; if (x < 128) { at++; x = (x >> 1) ^ -(x & 1); } else { ${careful} x = words[0]; } ${use} }`;
  }

  /** A long in `lo` and `hi`. */
  #long(place: Place, use: string): string {
    const careful = `at = readLong(data, at, end, words); ${this.#unreadable(place, 10)} ${this.#check(place)}`;
    const tooLong = () => this.#fail(place, () => `${place.path}: an integer of more than 10 bytes`);
    if (use === "") {
      if (this.#compact) return `if (data[at] < 128) at++; else { ${careful} }`;
      const nine = Array(9).fill("data[at++] > 127").join(" && ");
      return `if (data[at] < 128) at++; else if (at <= safe) { if (${nine} && data[at++] > 1) ${tooLong()} ${
        this.#check(place)
      } } else { ${careful} }`;
    }
    const slow = `{ ${careful} lo = words[0]; hi = words[1]; }`;
    const unrolled = () =>
      `if (at <= safe) { at++; let b = 0; lo &= 127; hi = 0; ${unrolledLong(tooLong())} const s = -(lo & 1); ` +
      `lo = ((lo >>> 1) | (hi << 31)) ^ s; hi = (hi >>> 1) ^ s; ${this.#check(place)} } else ${slow}`;
    return `{ let lo = data[at], hi; if (lo < 128) { at++; lo = (lo >> 1) ^ -(lo & 1); hi = lo >> 31; } else ${
      this.#compact ? slow : unrolled()
    } ${use} }`;
  }

  /** A number of any kind in `x`: one byte when not negative and small, else a long. */
  #number(place: Place): string {
    return `let x = data[at]; if ((x & 0x81) === 0) { at++; x >>= 1; } else { at = readLong(data, at, end, words); ${
      this.#unreadable(place, 10)
    } x = words[1] * 4294967296 + (words[0] >>> 0); }`;
  }

  /** A length in `x`, checked against what remains; `use` moves `at` on. */
  #length(place: Place, use: string): string {
    const reason = (detail: number) =>
      detail < 0
        ? `${place.path}: negative length ${detail}`
        : `${place.path}: length ${detail} runs past the value's end`;
    return `{ ${this.#number(place)} if (x < 0 || x > end - ${place.rest} - at) ${
      this.#fail(place, reason, "x")
    } ${use} }`;
  }

  /** An enum's index in `x`. */
  #enum(symbols: readonly string[], place: Place, use: string): string {
    const wrong = this.#fail(place, (detail) => `${place.path}: no enum symbol ${detail} of ${symbols.length}`, "x");
    return `{ let x = data[at]; if ((x & 0x81) === 0) { at++; x >>= 1; } else { at = readInt(data, at, end, words); ${
      this.#unreadable(place, 5)
    } x = words[0]; ${this.#check(place)} } if (x < 0 || x >= ${symbols.length}) ${wrong} ${use} }`;
  }

  #union(branches: readonly AvroType[], place: Place, each: (branch: AvroType, place: Place) => string): string {
    const least = Math.min(...branches.map(leastBytes));
    const cases = branches.map((branch, i) => {
      const more = leastBytes(branch);
      return `case ${i}: { ${more > least ? this.#check(place, more) : ""} ${each(branch, place)} break; }`;
    });
    const wrong = this.#fail(place, (detail) => `${place.path}: no union branch ${detail} of ${branches.length}`, "x");
    return `{ let x = data[at]; if ((x & 0x81) === 0) { at++; x >>= 1; } else { at = readLong(data, at, end, words); ${
      this.#unreadable(place, 10)
    } x = words[1] * 4294967296 + (words[0] >>> 0); ${this.#check(place, least)} }
switch (x) {
${cases.join("\n")}
default: ${wrong}
} }`;
  }

  /**
   * An array's or map's blocks: a count and the items, until a count of 0; a negative count is followed by the block's size in
   * bytes, which must be right.
   */
  #blocks(least: number, place: Place, item: (place: Place) => string): string {
    const inside: Place = { ...place, rest: place.rest + 1 };
    const tooMany = this.#fail(
      place,
      (detail) => `${place.path}: a block of ${detail} items, more than the value's bytes can hold`,
      "x",
    );
    const room = least === 0 ? `x > ${EMPTY_ITEMS_MAX}` : `x > (end - ${inside.rest} - at) / ${least}`;
    const wrongSize = this.#fail(
      place,
      (detail) => `${place.path}: a block that does not have the ${detail} bytes it says`,
      "size",
    );
    const items = least === 0 ? "" : `for (; x > 0; x--) { ${this.#check(inside, least)}\n${item(inside)} }`;
    return `for (;;) { ${this.#number(place)}
if (x === 0) break;
let size = -1, first = at;
if (x < 0) { ${this.#check(inside, 1)} const count = -x; { ${this.#number(place)} size = x; } x = count; first = at;
if (size < 0 || size > end - ${inside.rest} - at) ${wrongSize} }
if (${room}) ${tooMany}
${this.#check(inside)}
${items}
if (size >= 0 && at - first !== size) ${wrongSize} }
${this.#check(place)}`;
  }
}

/** Bytes 2 to 10 of a long whose first seven bits are in `lo`; `at` stands on byte 2. */
function unrolledLong(tooLong: string): string {
  const bytes = [
    "lo |= (b & 127) << 7;",
    "lo |= (b & 127) << 14;",
    "lo |= (b & 127) << 21;",
    "lo |= (b & 15) << 28; hi = (b & 127) >> 4;",
    "hi |= (b & 127) << 3;",
    "hi |= (b & 127) << 10;",
    "hi |= (b & 127) << 17;",
    "hi |= (b & 127) << 24;",
    `hi |= b << 31; if (b > 1) ${tooLong}`,
  ];
  return bytes.map((code) => `b = data[at++]; ${code}`).join(" if (b > 127) { ") + "}".repeat(bytes.length - 1);
}

/** Records that are referred to more than once, themselves included: they are skipped by a function each. */
function sharedRecords(root: AvroType): Set<RecordType> {
  const seen = new Set<RecordType>();
  const shared = new Set<RecordType>();
  const walk = (type: AvroType): void => {
    if (type.kind === "union") type.branches.forEach(walk);
    else if (type.kind === "array") walk(type.items);
    else if (type.kind === "map") walk(type.values);
    else if (type.kind === "record") {
      if (seen.has(type)) shared.add(type);
      else {
        seen.add(type);
        for (const field of type.fields) walk(field.type);
      }
    }
  };
  walk(root);
  return shared;
}

/** How many types code written out for `type` goes through. */
function countTypes(type: AvroType, shared: ReadonlySet<RecordType>): number {
  switch (type.kind) {
    case "union":
      return type.branches.reduce((sum, branch) => sum + countTypes(branch, shared), 1);
    case "array":
      return 1 + countTypes(type.items, shared);
    case "map":
      return 2 + countTypes(type.values, shared);
    case "record":
      return shared.has(type) ? 1 : type.fields.reduce((sum, field) => sum + countTypes(field.type, shared), 1);
    default:
      return 1;
  }
}
