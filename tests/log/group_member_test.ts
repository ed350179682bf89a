import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import { systemClock } from "../../pipeline/clock.ts";
import { ConfigError, ConflictError } from "../../pipeline/errors.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import {
  GroupMember,
  type GroupMemberOptions,
  MembershipEndedError,
  rangesOf,
} from "../../pipeline/log/group_member.ts";
import "../../pipeline/log/kafkajs_timers.ts";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";

const TOPIC = "t";
const GROUP = "tailrace.g";
const never = new AbortController().signal;

type Times = Pick<GroupMemberOptions, "sessionMs" | "heartbeatMs" | "rebalanceMs" | "instance">;

async function group(partitions: number) {
  const parts = new AsyncDisposableStack();
  const folder = parts.use(temporaryFolder());
  const broker = parts.use(await brokerIn(folder.path));
  const options = { clientId: "test", ssl: false, sasl: null };
  await new KafkaAdmin([broker.address], options, "test").ensureTopics([{ topic: TOPIC, partitions }]);
  return {
    brokers: [broker.address],
    member(clientId: string, times: Times = {}): GroupMember {
      const cluster = parts.use(new Cluster([broker.address], { ...options, clientId }));
      const member = new GroupMember(cluster, {
        group: GROUP,
        topic: TOPIC,
        clock: systemClock,
        heartbeatMs: 20,
        ...times,
      });
      parts.defer(() => member.leave());
      return member;
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

const ended = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve()));

Deno.test("neighbouring partitions go to each member, the first ones one more; with more members than partitions some have none", () => {
  assert.deepEqual([...rangesOf(["a", "b", "c"], 8).values()], [[0, 1, 2], [3, 4, 5], [6, 7]]);
  assert.deepEqual([...rangesOf(["a", "b", "c"], 2).values()], [[0], [1], []]);
});

Deno.test("members divide the partitions anew when one comes and when one leaves, and offsets pass from hand to hand", async () => {
  await using at = await group(4);
  const [a, b] = [at.member("a"), at.member("b")];
  const alone = await a.join(never);
  assert.deepEqual(alone.partitions, [0, 1, 2, 3]);
  await a.commit(new Map([[3, { offset: 7, metadata: "seven" }]]), never);
  const joining = b.join(never);
  await ended(alone.ended);
  assert.ok(alone.ended.reason instanceof MembershipEndedError);
  const [mine, theirs] = await Promise.all([a.join(never), joining]);
  assert.deepEqual([mine.partitions, theirs.partitions], [[0, 1], [2, 3]]);
  assert.deepEqual(await b.offsets([2, 3], never), new Map([[3, { offset: 7, metadata: "seven" }]]));
  await a.leave();
  await ended(theirs.ended);
  assert.deepEqual((await b.join(never)).partitions, [0, 1, 2, 3]);
});

Deno.test("who was not heard of for a session is out: its commit is refused, and it can come back", async () => {
  await using at = await group(2);
  // Its heartbeats come too late, as those of a process that is frozen.
  const zombie = at.member("a", { sessionMs: 200, heartbeatMs: 60_000, rebalanceMs: 1_500 });
  const held = await zombie.join(never);
  assert.deepEqual(held.partitions, [0, 1]);
  const heir = at.member("b", { rebalanceMs: 1_500 });
  assert.deepEqual((await heir.join(never)).partitions, [0, 1]);
  await heir.commit(new Map([[0, { offset: 20, metadata: "" }]]), never);
  await assert.rejects(zombie.commit(new Map([[0, { offset: 10, metadata: "" }]]), never), MembershipEndedError);
  assert.ok(held.ended.aborted);
  assert.equal((await heir.offsets([0], never)).get(0)!.offset, 20);
  assert.ok((await zombie.join(never)).partitions.length > 0);
});

Deno.test("a member that was killed comes back under its instance's name to the same partitions, and the others do not notice", async () => {
  await using at = await group(4);
  const names = ["x.0", "x.1"];
  const sessionMs = 60_000;
  const [a, b] = names.map((instance) => at.member(instance, { instance, sessionMs }));
  const joining = b.join(never);
  // Whoever is first in the group is disturbed by the second.
  for (let mine = await a.join(never); mine.partitions.length !== 2; mine = await a.join(never)) {
    await ended(mine.ended);
  }
  let theirs = await joining;
  while (theirs.partitions.length !== 2) theirs = await b.join(never);
  assert.deepEqual(theirs.partitions, [2, 3]);
  await a.commit(new Map([[0, { offset: 7, metadata: "" }]]), never);
  // The one before goes on with its heartbeats until it learns of the other: a copy of the data folder, say.
  const began = performance.now();
  const again = at.member("x.0", { instance: "x.0", sessionMs });
  const held = await again.join(never);
  assert.deepEqual(held.partitions, [0, 1]);
  assert.ok(performance.now() - began < sessionMs / 2, "it does not wait for the session's end");
  assert.ok(!theirs.ended.aborted);
  await again.commit(new Map([[0, { offset: 9, metadata: "" }]]), never);
  await assert.rejects(a.commit(new Map([[0, { offset: 8, metadata: "" }]]), never), (error) => {
    assert.ok(error instanceof ConflictError || error instanceof MembershipEndedError, String(error));
    return true;
  });
  await assert.rejects(a.join(never), /copy of this data folder/);
  assert.equal((await again.offsets([0], never)).get(0)!.offset, 9);
  // Given back in order, the partitions go to the other at once.
  await again.leave();
  await ended(theirs.ended);
  assert.deepEqual((await b.join(never)).partitions, [0, 1, 2, 3]);
});

Deno.test("tools see the members and what they hold; a group that divides in another way is refused in words", async () => {
  await using at = await group(2);
  const member = at.member("tailrace-x-0");
  await member.join(never);
  const kafka = new Kafka({ brokers: at.brokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const consumer = kafka.consumer({ groupId: "other", sessionTimeout: 6_000, maxWaitTimeInMs: 50 });
  try {
    await admin.connect();
    const { groups: [{ state, protocol, members }] } = await admin.describeGroups([GROUP]);
    assert.deepEqual([state, protocol, members.length], ["Stable", "range", 1]);
    assert.match(members[0].memberId, /^tailrace-x-0-/);
    assert.ok(members[0].memberAssignment.length > 0);
    await consumer.connect();
    await consumer.subscribe({ topic: TOPIC });
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
    await consumer.run({ eachMessage: () => Promise.resolve() });
    await joined;
    await using cluster = new Cluster(at.brokers, { clientId: "late", ssl: false, sasl: null });
    const late = new GroupMember(cluster, { group: "other", topic: TOPIC, clock: systemClock });
    await assert.rejects(
      late.join(never),
      (error) => error instanceof ConfigError && /in another way/.test(error.message),
    );
  } finally {
    await consumer.disconnect();
    await admin.disconnect();
  }
});
