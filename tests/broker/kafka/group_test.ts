import assert from "node:assert/strict";
import { Group, type JoinAnswer, type JoinRequest } from "../../../broker/kafka/groups/group.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

function request(memberId: string, more: Partial<JoinRequest> = {}): JoinRequest {
  return {
    memberId,
    instanceId: null,
    clientId: "c",
    clientHost: "h",
    sessionTimeoutMs: 1000,
    rebalanceTimeoutMs: 5000,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: bytes("m") }],
    needsKnownId: false,
    ...more,
  };
}

const newGroup = () => new Group("g", { membersMax: 3, initialDelayMs: 100 });

/** Lets new members in and gives each the name it is asked for as its assignment. */
async function stable(group: Group, count: number, nowMs: number): Promise<JoinAnswer[]> {
  const joins = Array.from({ length: count }, () => group.join(request(""), nowMs));
  group.tick(nowMs + 100);
  const answers = await Promise.all(joins);
  const assignments = new Map(answers.map((answer, index) => [answer.memberId, bytes(`part ${index}`)]));
  const synced = await Promise.all(answers.map(({ memberId, generation, leaderId }) =>
    group.sync(
      { memberId, instanceId: null, generation, assignments: memberId === leaderId ? assignments : new Map() },
      nowMs + 100,
    )
  ));
  assert.deepEqual(
    synced.map(({ error, assignment }) => [error, text(assignment)]),
    answers.map((_, i) => [0, `part ${i}`]),
  );
  return answers;
}

Deno.test("members that come together are in one generation, and the leader alone sees all of them", async () => {
  const group = newGroup();
  const answers = await stable(group, 3, 0);
  assert.deepEqual(answers.map(({ generation }) => generation), [1, 1, 1]);
  assert.deepEqual(answers.map(({ members }) => members.length).sort(), [0, 0, 3]);
  assert.equal(group.state, "stable");
});

Deno.test("a member more is told that the group is full", async () => {
  const group = newGroup();
  await stable(group, 3, 0);
  assert.equal((await group.join(request(""), 200)).error, 81);
});

Deno.test("a member that falls silent is removed after its session, and the others join again", async () => {
  const group = newGroup();
  const [one, two] = await stable(group, 2, 0);
  const beat = (member: JoinAnswer, nowMs: number) =>
    group.heartbeat({ memberId: member.memberId, instanceId: null, generation: 1 }, nowMs);
  assert.equal(beat(one, 1000), 0);
  group.tick(1050);
  assert.equal(group.members.size, 2);
  group.tick(1101);
  assert.equal(group.members.size, 1);
  assert.equal(beat(two, 1102), 25);
  assert.equal(beat(one, 1102), 27);
  const again = await group.join(request(one.memberId), 1103);
  assert.deepEqual([again.error, again.generation, again.members.length], [0, 2, 1]);
  assert.equal(beat(one, 1104), 22, "the generation before");
});

Deno.test("a rebalance does not wait for ever for a member that does not join again", async () => {
  const group = newGroup();
  const [one, two] = await stable(group, 2, 0);
  const joining = group.join(request("", { needsKnownId: false }), 200);
  const rejoined = group.join(request(one.memberId), 300);
  for (let nowMs = 300; nowMs < 5200; nowMs += 500) {
    group.heartbeat({ memberId: two.memberId, instanceId: null, generation: 1 }, nowMs);
    group.tick(nowMs);
  }
  assert.equal(group.state, "joining");
  group.tick(5200);
  assert.deepEqual([(await joining).generation, (await rejoined).generation], [2, 2]);
  assert.equal(group.members.size, 2);
  assert.equal(group.heartbeat({ memberId: two.memberId, instanceId: null, generation: 1 }, 5201), 25);
});

Deno.test("an id is given first when the client knows that step, and is forgotten when nobody joins with it", async () => {
  const group = newGroup();
  const told = await group.join(request("", { needsKnownId: true }), 0);
  assert.equal(told.error, 79);
  const joining = group.join(request(told.memberId, { needsKnownId: true }), 10);
  group.tick(110);
  assert.equal((await joining).error, 0);
  const other = await group.join(request("", { needsKnownId: true }), 200);
  group.tick(1200);
  assert.equal((await group.join(request(other.memberId), 1300)).error, 25);
});

Deno.test("a static member that comes back takes its place, and its former self is fenced", async () => {
  const group = newGroup();
  const first = group.join(request("", { instanceId: "i" }), 0);
  group.tick(100);
  const { memberId } = await first;
  const second = group.join(request("", { instanceId: "i" }), 200);
  group.tick(300);
  assert.equal((await second).error, 0);
  assert.equal(group.members.size, 1);
  assert.equal(group.heartbeat({ memberId, instanceId: "i", generation: 2 }, 301), 82);
});

Deno.test("a static member that comes back to a stable group has its assignment at once, and nobody else is told to join again", async () => {
  const group = newGroup();
  const joins = ["a", "b"].map((instanceId) => group.join(request("", { instanceId }), 0));
  group.tick(100);
  const [leader, other] = await Promise.all(joins);
  const sync = (member: JoinAnswer, instanceId: string, assignments = new Map<string, Uint8Array>()) =>
    group.sync({ memberId: member.memberId, instanceId, generation: member.generation, assignments }, 110);
  const parts = new Map([[leader.memberId, bytes("first")], [other.memberId, bytes("second")]]);
  await Promise.all([sync(leader, "a", parts), sync(other, "b")]);
  for (const [instanceId, before, part] of [["b", other, "second"], ["a", leader, "first"]] as const) {
    const again = await group.join(request("", { instanceId }), 200);
    assert.deepEqual([again.error, again.generation, again.members], [0, 1, []]);
    assert.notEqual(again.memberId, before.memberId);
    assert.notEqual(again.leaderId, again.memberId, "it is not asked to assign");
    assert.equal(text((await sync(again, instanceId)).assignment), part);
    assert.equal(group.heartbeat({ memberId: before.memberId, instanceId, generation: 1 }, 210), 82);
    assert.equal(group.heartbeat({ memberId: again.memberId, instanceId, generation: 1 }, 210), 0);
  }
  assert.equal(group.state, "stable");
  // The next rebalance has a leader again, who assigns.
  const third = group.join(request("", { instanceId: "c" }), 300);
  const rejoined = [...group.members.values()].filter(({ instanceId }) => instanceId !== "c")
    .map(({ id, instanceId }) => group.join(request(id, { instanceId }), 310));
  group.tick(500);
  const answers = await Promise.all([third, ...rejoined]);
  assert.deepEqual(answers.map(({ members }) => members.length).sort(), [0, 0, 3]);
});

Deno.test("members without a protocol in common are refused", async () => {
  const group = newGroup();
  await stable(group, 1, 0);
  const other = request("", { protocols: [{ name: "sticky", metadata: bytes("") }] });
  assert.equal((await group.join(other, 200)).error, 23);
  assert.equal((await group.join(request("", { protocolType: "connect" }), 200)).error, 23);
});

Deno.test("only members of the present generation commit, or anyone while the group is empty", async () => {
  const group = newGroup();
  const nobody = { memberId: "", instanceId: null, generation: -1 };
  assert.equal(group.commitFault(nobody), 0);
  const [one] = await stable(group, 1, 0);
  assert.equal(group.commitFault(nobody), 25);
  assert.equal(group.commitFault({ memberId: one.memberId, instanceId: null, generation: 1 }), 0);
  assert.equal(group.commitFault({ memberId: one.memberId, instanceId: null, generation: 0 }), 22);
  assert.equal(group.leave({ memberId: one.memberId, instanceId: null }, 300), 0);
  assert.equal(group.state, "empty");
  assert.equal(group.commitFault(nobody), 0);
});
