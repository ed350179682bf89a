import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Holder,
  lastEpoch,
  type Phase,
  type Step,
  Transaction,
  type TransactionState,
} from "../../../broker/kafka/transactions/transaction.ts";

const partition = { topicId: "t", index: 0 };
const other = { topicId: "t", index: 1 };
const committed = { offset: 5, leaderEpoch: -1, metadata: null };
const pending = { group: "g", topic: "t", partition: 0, committed };
const holder: Holder = { producerId: 7, epoch: 3 };
const stale: Holder = { producerId: 7, epoch: 2 };
const stranger: Holder = { producerId: 8, epoch: 3 };

function inPhase(phase: Phase, changed: Partial<TransactionState> = {}): Transaction {
  const isOpen = phase === "ongoing" || phase.startsWith("prepare");
  return new Transaction({
    ...holder,
    id: "a",
    previous: stale,
    timeoutMs: 1000,
    phase,
    startedMs: isOpen ? 100 : -1,
    changedMs: 100,
    partitions: isOpen ? [partition] : [],
    groups: isOpen ? ["g"] : [],
    offsets: [],
    ...changed,
  });
}

/** A step as the tables below have it: an error, "same", or the next phase with its epoch. */
function told(step: Step, from: Transaction): string | number {
  if ("error" in step) return step.error;
  return step.next === from ? "same" : `${step.next.state.phase} ${step.next.state.epoch}`;
}

const phases = ["empty", "ongoing", "prepareCommit", "prepareAbort", "completeCommit", "completeAbort"] as const;
const initialize = (expected: Holder | null) => (transaction: Transaction) =>
  transaction.initialize({ expected, timeoutMs: 2000, nowMs: 500, newProducerId: () => 99 });

// What each request leads to, in the order of `phases`.
const concurrent = 51;
const table: [string, (transaction: Transaction) => Step, (string | number)[]][] = [
  ["taken over", initialize(null), ["empty 4", "prepareAbort 4", concurrent, concurrent, "empty 4", "empty 4"]],
  ["asked by its holder", initialize(holder), [
    "empty 4",
    "prepareAbort 4",
    concurrent,
    concurrent,
    "empty 4",
    "empty 4",
  ]],
  ["asked again", initialize(stale), ["same", 90, concurrent, concurrent, "same", "same"]],
  ["asked by a stranger", initialize(stranger), [90, 90, concurrent, concurrent, 90, 90]],
  [
    "given a partition it has",
    (t) => t.addPartitions(holder, [partition], 500),
    ["ongoing 3", "same", concurrent, concurrent, "ongoing 3", "ongoing 3"],
  ],
  [
    "given another partition",
    (t) => t.addPartitions(holder, [other, other], 500),
    ["ongoing 3", "ongoing 3", concurrent, concurrent, "ongoing 3", "ongoing 3"],
  ],
  ["given a partition by a fenced producer", (t) => t.addPartitions(stale, [other], 500), phases.map(() => 90)],
  ["given a partition by a stranger", (t) => t.addPartitions(stranger, [other], 500), phases.map(() => 49)],
  [
    "given a group",
    (t) => t.addGroup(holder, "g", 500),
    ["ongoing 3", "same", concurrent, concurrent, "ongoing 3", "ongoing 3"],
  ],
  ["given offsets", (t) => t.addOffsets(holder, [pending], 500), [48, "ongoing 3", concurrent, concurrent, 48, 48]],
  ["given offsets of a group it lacks", (t) => t.addOffsets(holder, [{ ...pending, group: "h" }], 500), [
    48,
    48,
    concurrent,
    concurrent,
    48,
    48,
  ]],
  ["committed", (t) => t.end(holder, true, 500), [48, "prepareCommit 3", "same", 48, "same", 48]],
  ["aborted", (t) => t.end(holder, false, 500), [48, "prepareAbort 3", 48, "same", 48, "same"]],
  ["committed by a fenced producer", (t) => t.end(stale, true, 500), phases.map(() => 90)],
];

for (const [what, take, expected] of table) {
  Deno.test(`a transaction that is ${what} goes on as its phase has it`, () => {
    const results = phases.map((phase) => {
      const from = inPhase(phase);
      return told(take(from), from);
    });
    assert.deepEqual(results, expected);
  });
}

Deno.test("a transaction is overdue by its own time-out, and its producer, fenced by that, may come back where others may not", () => {
  const open = inPhase("ongoing");
  assert.deepEqual([open.isOverdue(1099), open.isOverdue(1100)], [false, true]);
  assert.equal(inPhase("prepareCommit").isOverdue(5000), false);
  const aborted = open.timeOut(1100).complete(1200);
  assert.equal(told(aborted.end(holder, true, 1300), aborted), 90);
  assert.equal(told(initialize(holder)(aborted), aborted), "same");
  const taken = initialize(null)(aborted);
  assert.ok("next" in taken);
  assert.equal(told(initialize(holder)(taken.next), taken.next), 90);
});

Deno.test("a holder fenced by a take-over of its open transaction cannot come back", () => {
  const step = initialize(null)(inPhase("ongoing"));
  assert.ok("next" in step);
  const aborted = step.next.complete(600);
  assert.equal(told(initialize(holder)(aborted), aborted), 90);
});

Deno.test("when the epochs are used up the id gets a new producer id, also for who asks with the last one", () => {
  const last = { ...holder, epoch: lastEpoch };
  const step = initialize(last)(inPhase("completeCommit", last));
  assert.ok("next" in step);
  const { producerId, epoch } = step.next.state;
  assert.deepEqual({ producerId, epoch }, { producerId: 99, epoch: 0 });
  assert.equal(told(initialize(last)(step.next), step.next), "same");

  const open = initialize(last)(inPhase("ongoing", last));
  assert.ok("next" in open);
  assert.equal(open.next.state.epoch, 0x7fff);
  const after = initialize(null)(open.next.complete(600));
  assert.ok("next" in after);
  assert.deepEqual([after.next.state.producerId, after.next.state.epoch], [99, 0]);
});

Deno.test("records are taken for the partitions of an open transaction of the one who holds it", () => {
  assert.equal(inPhase("ongoing").produceFault(holder, partition), 0);
  assert.equal(inPhase("ongoing").produceFault(holder, other), 48);
  assert.equal(inPhase("ongoing").produceFault(stale, partition), 47);
  assert.equal(inPhase("ongoing").produceFault(stranger, partition), 49);
  for (const phase of phases.filter((phase) => phase !== "ongoing")) {
    assert.equal(inPhase(phase).produceFault(holder, partition), 48, phase);
  }
});

/** One of some clients of the same id, which remembers what it was answered last. */
interface Client {
  holder: Holder | null;
}

Deno.test("whatever clients of one id do: one of them holds it, epochs never go back, and a decision is never undone", () => {
  const act = fc.constantFrom("take over", "ask again", "partition", "group", "offsets", "commit", "abort", "time out");
  const step = fc.record({ client: fc.nat(2), act, complete: fc.boolean(), lost: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const clients: Client[] = [{ holder: null }, { holder: null }, { holder: null }];
      let transaction = Transaction.begin("a", { producerId: 1, timeoutMs: 10, nowMs: 0 });
      let nowMs = 0;
      for (const { client: index, act, complete, lost } of steps) {
        nowMs += 7;
        const client = clients[index];
        const before = transaction;
        const holder = client.holder ?? { producerId: 1, epoch: -1 };
        const take = (): Step => {
          switch (act) {
            case "take over":
            case "ask again": {
              const expected = act === "ask again" ? client.holder : null;
              return before.initialize({ expected, timeoutMs: 10, nowMs, newProducerId: () => 1 });
            }
            case "partition":
              return before.addPartitions(holder, [partition], nowMs);
            case "group":
              return before.addGroup(holder, "g", nowMs);
            case "offsets":
              return before.addOffsets(holder, [pending], nowMs);
            case "time out":
              return { next: before.isOverdue(nowMs) ? before.timeOut(nowMs) : before };
            default:
              return before.end(holder, act === "commit", nowMs);
          }
        };
        const taken = take();
        if ("next" in taken) {
          transaction = taken.next;
          const isAnswer = act === "take over" || act === "ask again";
          if (isAnswer && !transaction.isPrepared && !lost) client.holder = { ...epochOf(transaction) };
        }
        if (transaction.isPrepared && complete) transaction = transaction.complete(nowMs);

        // Only who holds the id has changed anything but by taking it over; never two hold it.
        assert.ok(transaction.state.epoch >= before.state.epoch);
        const holding = clients.filter(({ holder }) => holder?.epoch === transaction.state.epoch);
        assert.ok(holding.length <= 1);
        const byHolder = ["partition", "group", "offsets", "commit", "abort"].includes(act);
        if (byHolder && transaction !== before && !before.isPrepared) assert.equal(holder.epoch, before.state.epoch);
        // A decision stays until it is complete.
        if (before.isPrepared && transaction !== before) assert.ok(complete);
        if (before.state.phase === "prepareCommit") {
          assert.ok(["prepareCommit", "completeCommit"].includes(transaction.state.phase));
        }
        // Only an open transaction has anything in it, and it knows since when.
        const { partitions, groups, offsets, startedMs } = transaction.state;
        const isOpen = transaction.isOngoing || transaction.isPrepared;
        assert.equal(partitions.length + groups.length + offsets.length > 0, isOpen);
        assert.equal(startedMs >= 0, isOpen);
        // What is written down is all there is.
        assert.deepEqual(new Transaction(JSON.parse(JSON.stringify(transaction.state))), transaction);
      }
    }),
    { numRuns: 300 },
  );
});

function epochOf({ state }: Transaction): Holder {
  return { producerId: state.producerId, epoch: state.epoch };
}
