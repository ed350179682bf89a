/**
 * A member of a consumer group, over connections of its own: the classic protocol, with the assignor `range`, so that Kafka's tools
 * show it like any consumer, and other processes share the partitions with it.
 *
 *     join ──▶ assigned ──heartbeats──▶ told of a rebalance, or not heard of for a session ──▶ `ended` ──▶ join again
 *
 * What is committed carries the generation and the member's id: once the group went on without this member, the commit is refused.
 *
 * With an `instance` it is a static member: the same one comes back after a crash gets its partitions at once, though the group has
 * not noticed yet that it was gone.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { Cluster } from "./cluster.ts";
import type { BrokerConnection } from "./connection.ts";
import {
  type Assigned,
  commitOffsets,
  fetchOffsets,
  type GroupOffset,
  heartbeat,
  type Joined,
  joinGroup,
  leaveGroup,
  type Membership,
  syncGroup,
} from "./group_requests.ts";
import { KafkaCode, kafkaError } from "./kafka_errors.ts";
import { type Address, type Answer, findCoordinator, GROUP } from "./transaction_requests.ts";
import { unlessAborted } from "./unless_aborted.ts";

/** A member that is not heard of for so long is out, and its partitions go to others. Kafka allows 6 s and more. */
const SESSION_MS = 10_000;
/** How long the others are waited for once somebody comes or goes. */
const REBALANCE_MS = 60_000;
const HEARTBEAT_MS = 1_000;
/** How long a request is tried again before the coordinator counts as away. */
const TRY_FOR_MS = 30_000;
const BACK_OFF_MS = { first: 50, most: 1_000 };
const PROTOCOL = "range";

/** Codes after which somebody else has to be asked. */
const ELSEWHERE: ReadonlySet<number> = new Set([
  KafkaCode.coordinatorLoading,
  KafkaCode.coordinatorNotAvailable,
  KafkaCode.notCoordinator,
]);
/** Codes after which one is no member any more, or has to join again. */
const ENDED: ReadonlySet<number> = new Set([
  KafkaCode.illegalGeneration,
  KafkaCode.unknownMemberId,
  KafkaCode.rebalanceInProgress,
]);

/** The group went on, or goes on, without this member: join again, and begin from what is committed then. */
export class MembershipEndedError extends UnavailableError {}

export interface GroupMemberOptions {
  readonly group: string;
  readonly topic: string;
  readonly clock: Clock;
  /** Names the member from one start to the next: only one at a time may have it. */
  readonly instance?: string | null;
  /** Instead of 10 s. */
  readonly sessionMs?: number;
  /** Instead of 60 s. */
  readonly rebalanceMs?: number;
  /** Instead of 1 s. */
  readonly heartbeatMs?: number;
}

/** What a member has until the next rebalance. */
export interface Assignment {
  /** Ascending. */
  readonly partitions: readonly number[];
  readonly generation: number;
  readonly member: string;
  /** Aborted, with a MembershipEndedError, when the partitions have to be given back, or are not this member's any more. */
  readonly ended: AbortSignal;
}

/**
 * One member. All methods throw
 * - MembershipEndedError when it has to join again,
 * - UnavailableError when the coordinator stays away: whether a commit was taken is then unknown,
 * - ConfigError when the group cannot be used as it is,
 * - ConflictError when another has its `instance` now,
 * - the signal's reason when it ends the waiting.
 */
export class GroupMember {
  readonly #cluster: Cluster;
  readonly #options: GroupMemberOptions;
  #coordinator: Address | null = null;
  #member = "";
  #current:
    | { readonly membership: Membership; readonly ending: AbortController; readonly beats: Promise<void> }
    | null = null;

  /** @param cluster for this member alone: an answer that takes long holds up those after it */
  constructor(cluster: Cluster, options: GroupMemberOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** Becomes a member, or goes with the group into its next generation, and keeps the place by heartbeats until it ends. */
  async join(signal: AbortSignal): Promise<Assignment> {
    await this.#end(new MembershipEndedError("The member joins again"));
    const { clock, group, topic, instance = null, sessionMs = SESSION_MS, rebalanceMs = REBALANCE_MS } = this.#options;
    for (;;) {
      const joined = await this.#join({ sessionMs, rebalanceMs, signal });
      if (joined === null) continue;
      const membership = { group, generation: joined.generation, member: joined.member, instance };
      const assignments = joined.leader === joined.member ? await this.#assign(joined.members) : new Map();
      const { code, value } = await this.#ask(
        (c) => syncGroup(c, membership, { assignments, timeoutMs: rebalanceMs }),
        signal,
      );
      if (ENDED.has(code)) {
        this.#forget(code);
        continue;
      }
      this.#refuse(code, `a part of group ${group} to ${joined.member}`);
      const ending = new AbortController();
      this.#current = { membership, ending, beats: this.#beat(membership, ending, clock.monotonic()) };
      const partitions = [...value.get(topic) ?? []].sort((a, b) => a - b);
      return { ...membership, partitions, ended: ending.signal };
    }
  }

  /** How far the group is; partitions of which nothing was ever committed are left out. Needs no membership. */
  async offsets(partitions: readonly number[], signal: AbortSignal): Promise<Map<number, GroupOffset>> {
    const { group, topic } = this.#options;
    const { code, value } = await this.#ask((c) => fetchOffsets(c, { group, topic, partitions }), signal);
    this.#refuse(code, `to say how far group ${group} is in ${topic}`);
    return value;
  }

  /** Commits as the member that it is. */
  async commit(offsets: ReadonlyMap<number, GroupOffset>, signal: AbortSignal): Promise<void> {
    const { group, topic } = this.#options;
    const current = this.#current;
    if (current === null || current.ending.signal.aborted) throw endedError(group);
    const { code } = await this.#ask((c) => commitOffsets(c, current.membership, { topic, offsets }), signal);
    if (ENDED.has(code)) {
      this.#forget(code);
      const error = endedError(group);
      current.ending.abort(error);
      throw error;
    }
    this.#refuse(code, `to commit how far group ${group} is in ${topic}`);
  }

  /** Gives the partitions back at once instead of after a session. Silent when the coordinator is away. */
  async leave(): Promise<void> {
    await this.#end(new MembershipEndedError("The member has left"));
    const member = this.#member;
    if (member === "") return;
    this.#member = "";
    try {
      const { group, instance = null } = this.#options;
      await leaveGroup(await this.#connection(), { group, member, instance });
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
  }

  async #join(
    { sessionMs, rebalanceMs, signal }: { sessionMs: number; rebalanceMs: number; signal: AbortSignal },
  ): Promise<Joined | null> {
    const { group, topic, instance = null } = this.#options;
    const { code, value } = await this.#ask((connection) =>
      joinGroup(connection, {
        group,
        instance,
        member: this.#member,
        topics: [topic],
        protocol: PROTOCOL,
        sessionMs,
        rebalanceMs,
      }), signal);
    if (code === KafkaCode.memberIdRequired) {
      this.#member = value.member;
      return null;
    }
    if (ENDED.has(code)) {
      this.#forget(code);
      return null;
    }
    this.#refuse(code, `to let a member into group ${group}`);
    this.#member = value.member;
    return value;
  }

  /**
   * Neighbouring partitions to each, in the order of the members' names (instances, or ids, which are others after each start); the first ones get one more where it does not come out even.
   * Only the leader of the group does this, for all.
   */
  async #assign(members: Joined["members"]): Promise<Map<string, Assigned>> {
    const assignments = new Map<string, Map<string, number[]>>(members.map(({ id }) => [id, new Map()]));
    for (const topic of new Set(members.flatMap(({ topics }) => topics))) {
      const count = (await this.#cluster.leaders(topic))?.leaders.length ?? 0;
      const readers = members.filter(({ topics }) => topics.includes(topic))
        .sort((a, b) => (a.instance ?? a.id) < (b.instance ?? b.id) ? -1 : 1).map(({ id }) => id);
      for (const [id, partitions] of rangesOf(readers, count)) assignments.get(id)!.set(topic, partitions);
    }
    return assignments;
  }

  async #beat(membership: Membership, ending: AbortController, since: number): Promise<void> {
    const { clock, group, sessionMs = SESSION_MS, heartbeatMs = HEARTBEAT_MS } = this.#options;
    let heardAt = since;
    while (!ending.signal.aborted) {
      try {
        await clock.sleep(heartbeatMs, ending.signal);
        const sentAt = clock.monotonic();
        const { code } = await unlessAborted(this.#connection().then((c) => heartbeat(c, membership)), ending.signal);
        if (code === 0) heardAt = sentAt;
        else if (ENDED.has(code)) {
          this.#forget(code);
          ending.abort(endedError(group));
        } else if (ELSEWHERE.has(code)) this.#coordinator = null;
        else this.#refuse(code, `a heartbeat of a member of group ${group}`);
      } catch (error) {
        if (ending.signal.aborted) return;
        if (!isPassing(error)) return ending.abort(error);
        this.#coordinator = null;
      }
      // The group has given the partitions away by then.
      if (clock.monotonic() - heardAt > sessionMs) ending.abort(endedError(group));
    }
  }

  async #end(reason: MembershipEndedError): Promise<void> {
    const current = this.#current;
    this.#current = null;
    current?.ending.abort(reason);
    await current?.beats;
  }

  #forget(code: number): void {
    if (code === KafkaCode.unknownMemberId) this.#member = "";
  }

  #refuse(code: number, doing: string): void {
    if (code === KafkaCode.fencedInstance) {
      const { group, instance } = this.#options;
      throw new ConflictError(
        `Another member of group ${group} is ${instance} now: a process with a copy of this data folder. Give each its own`,
      );
    }
    const error = kafkaError(code, doing);
    if (error) throw error;
  }

  /** Asks the coordinator, wherever it is, until there is an answer about the group. */
  async #ask<T>(send: (c: BrokerConnection) => Promise<Answer<T>>, signal: AbortSignal): Promise<Answer<T>> {
    const { clock, group } = this.#options;
    const giveUpAt = clock.monotonic() + TRY_FOR_MS;
    for (let pauseMs = BACK_OFF_MS.first;; pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most)) {
      signal.throwIfAborted();
      let failure: unknown;
      try {
        const answer = await unlessAborted(this.#connection().then(send), signal);
        if (!ELSEWHERE.has(answer.code)) return answer;
        failure = kafkaError(answer.code, `what was asked of the coordinator of group ${group}`);
      } catch (error) {
        if (signal.aborted || !isPassing(error)) throw error;
        failure = error;
      }
      this.#coordinator = null;
      if (clock.monotonic() + pauseMs >= giveUpAt) {
        throw new UnavailableError((failure as Error).message, { cause: failure });
      }
      await clock.sleep(pauseMs, signal);
    }
  }

  async #connection(): Promise<BrokerConnection> {
    if (this.#coordinator === null) {
      const { group } = this.#options;
      const { code, value } = await findCoordinator(await this.#cluster.any(), { key: group, type: GROUP });
      this.#refuse(code, `to find the coordinator of group ${group}`);
      this.#coordinator = value;
    }
    return await this.#cluster.at(this.#coordinator.host, this.#coordinator.port);
  }
}

/** Neighbouring numbers from 0 to `count` for each of `members`, in their order. */
export function rangesOf(members: readonly string[], count: number): Map<string, number[]> {
  const each = Math.floor(count / members.length);
  const more = count % members.length;
  let next = 0;
  return new Map(members.map((member, i) => {
    const first = next;
    next += each + (i < more ? 1 : 0);
    return [member, Array.from({ length: next - first }, (_, at) => first + at)];
  }));
}

function endedError(group: string): MembershipEndedError {
  return new MembershipEndedError(`The partitions of group ${group} are being given out anew`);
}

function isPassing(error: unknown): boolean {
  if (error instanceof ConfigError) return false;
  return error instanceof UnavailableError || error instanceof MalformedRecordError;
}
