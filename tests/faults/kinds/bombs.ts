import { Buffer } from "node:buffer";
import { memoryBytes } from "../../e2e/faults.ts";
import type { Kind } from "../kind.ts";
import {
  fields,
  framed,
  good,
  type MadeRecord,
  startOfRun,
  type Transaction,
  transaction,
  TRANSACTION_TEXT,
} from "../records.ts";
import avsc from "avsc";

const MIB = 2 ** 20;
/** More than one batch may grow to. */
const BOMB_BYTES = 80 * MIB;
const LARGE_BYTES = 10 * MIB;
const MEMORY_BYTES_MAX = 1536 * MIB;
const TYPE = avsc.Type.forSchema(JSON.parse(TRANSACTION_TEXT));

/** What is sent, and whether its batch is compressed. */
const SORTS: readonly {
  readonly gzip: boolean;
  readonly make: (made: MadeRecord, of: Transaction, id: number) => MadeRecord;
}[] = [
  { gzip: true, make: (made) => ({ ...made, value: Buffer.alloc(BOMB_BYTES), nature: "bomb", transaction: null }) },
  { gzip: false, make: (made, of, id) => ({ ...made, value: large(of, id) }) },
  { gzip: true, make: (made, of, id) => ({ ...made, value: large(of, id) }) },
  {
    gzip: false,
    make: (made) => ({ ...made, value: Buffer.alloc(LARGE_BYTES, 7), nature: "dead", transaction: null }),
  },
  { gzip: true, make: (made) => ({ ...made, value: Buffer.alloc(LARGE_BYTES, 7), nature: "dead", transaction: null }) },
];

function large(of: Transaction, id: number): Buffer {
  return framed(id, TYPE.toBuffer({ ...fields(of), merchant: "m".repeat(LARGE_BYTES) }));
}

/** Batches that grow when they are opened, and records of ten megabytes, good and dead. */
export const bombs: Kind = {
  name: "bombs",
  what: "decompression bombs of 80 MiB, and records of 10 MiB",
  counts: { full: 100, short: 5 },
  async run(run) {
    const special = new Map<number, number>();
    const startMs = startOfRun();
    await using world = await run.world({
      rate: 200,
      recipe: ({ schemaId }) => (n) => {
        const of = transaction(run.seed, n, startMs);
        const sort = special.get(n);
        const made = good(n, of, schemaId);
        return sort === undefined ? made : SORTS[sort].make(made, of, schemaId);
      },
    });
    let most = 0;
    while (run.injected < run.count) {
      const sort = run.injected % SORTS.length;
      special.set(world.load.next, sort);
      await world.load.send(1, { gzip: SORTS[sort].gzip });
      run.inject();
      await run.recovers(world);
      most = Math.max(most, memoryBytes(world.tailrace!.child.pid));
    }
    run.remarks.push(`the process held ${Math.round(most / MIB)} MiB at most`);
    if (most > MEMORY_BYTES_MAX) run.findings.note("wrong", "behaviour", `it took ${Math.round(most / MIB)} MiB`);
    await run.finish(world);
  },
};
