import avsc from "avsc";
import { Buffer } from "node:buffer";
import type { Kind } from "../kind.ts";
import {
  chance,
  fields,
  framed,
  good,
  type MadeRecord,
  partitionOf,
  type Recipe,
  startOfRun,
  type Transaction,
  transaction,
  TRANSACTION_TEXT,
} from "../records.ts";
import { register } from "../world.ts";

const SEND_AT_ONCE = 400;
const UNKNOWN_SCHEMA = 9_000_000;
/** Nested so deep that a decoder which follows runs out of stack. */
const DEPTH = 50_000;

/** A transaction with an array, a map and a tree before its last field, which readers have to skip. */
const SCHEMA = JSON.parse(TRANSACTION_TEXT);
const EVENT_TIME = SCHEMA.fields.at(-1);
const BEFORE = avsc.Type.forSchema({ ...SCHEMA, name: "Before", fields: SCHEMA.fields.slice(0, -1) });
const LONG = avsc.Type.forSchema("long");
const EXTRAS = {
  ...SCHEMA,
  fields: [
    ...SCHEMA.fields.slice(0, -1),
    { name: "tags", type: { type: "array", items: "string" } },
    { name: "attributes", type: { type: "map", values: "string" } },
    {
      name: "tree",
      type: ["null", { type: "record", name: "Tree", fields: [{ name: "next", type: ["null", "Tree"] }] }],
    },
    EVENT_TIME,
  ],
};
const NO_TAGS = [0];
const NO_ATTRIBUTES = [0];
const NO_TREE = [0];

interface Ids {
  readonly plain: number;
  readonly extras: number;
}

/** What is made of a transaction; null for one that is good all the same. */
type Maker = (of: Transaction, ids: Ids, draw: number) => Uint8Array | null;

function bytes(of: Transaction): Buffer {
  return Buffer.concat([BEFORE.toBuffer(fields(of)), LONG.toBuffer(of.eventMs)]);
}

/** With bytes of our own where array, map and tree are. */
function extras(of: Transaction, id: number, middle: readonly number[]): Buffer {
  return framed(id, Buffer.concat([BEFORE.toBuffer(fields(of)), Buffer.from(middle), LONG.toBuffer(of.eventMs)]));
}

/** A long as Avro has it. */
function long(value: bigint): number[] {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const out: number[] = [];
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  return [...out, Number(rest)];
}

const HUGE = 2n ** 62n;

/** Every class of records that cannot be read. */
const CLASSES: Readonly<Record<string, Maker>> = {
  "truncated": (of, { plain }, draw) => {
    const whole = bytes(of);
    return framed(plain, whole.subarray(0, Math.floor(draw * whole.length)));
  },
  "wrong magic": (of, { plain }) => {
    const value = framed(plain, bytes(of));
    value[0] = 1;
    return value;
  },
  "no frame": (_, __, draw) => new Uint8Array(Math.floor(draw * 5)),
  "unknown schema": (of, _, draw) => framed(UNKNOWN_SCHEMA + Math.floor(draw * 5), bytes(of)),
  "array of many": (of, { extras: id }) => extras(of, id, [...long(HUGE), 2, 97]),
  "array of many, sized": (of, { extras: id }) => extras(of, id, [...long(-HUGE), ...long(HUGE)]),
  "array of a negative size": (of, { extras: id }) => extras(of, id, [...long(-3n), ...long(-40n)]),
  "map of many": (of, { extras: id }) => extras(of, id, [...NO_TAGS, ...long(HUGE)]),
  "deep recursion": (of, { extras: id }) =>
    framed(id, Buffer.concat([BEFORE.toBuffer(fields(of)), Buffer.from([0, 0]), Buffer.alloc(DEPTH, 2)])),
  "a string beyond the end": (of, { plain }) => {
    const value = framed(plain, bytes(of));
    // The account's length, after the frame and the id with its own length.
    value[5 + 1 + of.id.length] = 0x7e;
    return value.subarray(0, 5 + 1 + of.id.length + 8);
  },
  "a string of a negative length": (of, { plain }) => {
    const value = framed(plain, bytes(of));
    value[5] = 1;
    return value;
  },
  "a branch that is not there": (of, { extras: id }) => extras(of, id, [...NO_TAGS, ...NO_ATTRIBUTES, 8]),
  "a key that is no text": (of, { plain }) => {
    const value = framed(plain, bytes({ ...of, status: "approved", cents: 1 }));
    value.set([0xff, 0xfe], 5 + 1 + of.id.length + 1);
    return value;
  },
  "a time beyond all calendars": (of, { plain }) =>
    framed(plain, bytes({ ...of, status: "approved", cents: 1, eventMs: Date.UTC(12_000, 0) })),
};
const NAMES = Object.keys(CLASSES);

/** Every second record is poison, of each class in turn; some are odd and good. */
function poisonRecipe(seed: number, ids: Ids, startMs: number): Recipe {
  return (n): MadeRecord => {
    const of = transaction(seed, n, startMs);
    const made = good(n, of, ids.plain);
    if (n % 2 === 0) {
      if (n % 20 === 0) {
        const proto = [...long(1n), 18, ...Buffer.from("__proto__"), 2, 120, 0];
        return { ...made, value: extras(of, ids.extras, [...NO_TAGS, ...proto, ...NO_TREE]) };
      }
      return n % 22 === 0 ? { ...made, value: null, nature: "empty", transaction: null } : made;
    }
    const value = CLASSES[NAMES[(n >> 1) % NAMES.length]](of, ids, chance(seed, n, 20));
    return { ...made, value, partition: partitionOf(of), nature: "dead", transaction: null };
  };
}

export const poison: Kind = {
  name: "poison",
  what: `records that cannot be read, of ${NAMES.length} classes, among good ones`,
  counts: { full: 10_000, short: 1_400 },
  async run(run) {
    await using world = await run.world({
      recipe: async ({ schemaId, registryUrl }) => {
        const extras = await register(registryUrl, "faults-extras", JSON.stringify(EXTRAS));
        return poisonRecipe(run.seed, { plain: schemaId, extras }, startOfRun());
      },
    });
    while (run.injected < run.count) {
      await world.load.send(SEND_AT_ONCE);
      for (let i = 0; i < SEND_AT_ONCE / 2; i++) run.inject();
      await run.recovers(world);
      run.recovered = run.injected;
    }
    await run.finish(world);
  },
};
