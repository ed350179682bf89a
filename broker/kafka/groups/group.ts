/**
 * One consumer group, the classic protocol: members join, one of them (the leader) assigns, all fetch their part with SyncGroup and
 * then send heartbeats. Whenever someone comes or goes, the others are told by their next heartbeat to join again.
 *
 *     empty ──join──▶ joining ──all joined, or time is up──▶ syncing ──leader's assignment──▶ stable
 *       ▲                ▲                                      │                               │
 *       └──last leaves───┴──────────── a member joins, leaves or falls silent ◀─────────────────┘
 *
 * It has no timer and no clock: `tick(nowMs)` is called a few times a second.
 * Source: KIP-62 (sessions), KIP-345 (static members), KIP-394 (member ids before joining).
 *
 * @module
 */
import { ErrorCode } from "../protocol/errors.ts";

export type GroupState = "empty" | "joining" | "syncing" | "stable";

export interface Protocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

export interface JoinRequest {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly Protocol[];
  /** Whether a new member must first be told its id (from JoinGroup 4 on). */
  readonly needsKnownId: boolean;
}

export interface JoinAnswer {
  readonly error: number;
  readonly memberId: string;
  readonly generation: number;
  readonly protocolName: string | null;
  readonly leaderId: string;
  /** Filled for the leader alone. */
  readonly members: readonly { id: string; instanceId: string | null; metadata: Uint8Array }[];
}

export interface SyncAnswer {
  readonly error: number;
  readonly assignment: Uint8Array;
}

export interface Member extends Omit<JoinRequest, "memberId" | "protocolType" | "needsKnownId"> {
  readonly id: string;
  assignment: Uint8Array;
  lastSeenMs: number;
  onJoined: ((answer: JoinAnswer) => void) | null;
  onSynced: ((answer: SyncAnswer) => void) | null;
}

const nothing = new Uint8Array(0);

export class Group {
  readonly id: string;
  state: GroupState = "empty";
  generation = 0;
  protocolType = "";
  protocolName: string | null = null;
  leaderId = "";
  readonly members = new Map<string, Member>();
  /** Ids given out to members that have not joined with them yet, and until when they may. */
  readonly #pending = new Map<string, number>();
  readonly #membersMax: number;
  readonly #initialDelayMs: number;
  /** While joining: not complete before, even if all members are here. */
  #joinNotBeforeMs = 0;
  #joinDeadlineMs = 0;

  constructor(id: string, options: { membersMax: number; initialDelayMs: number }) {
    this.id = id;
    this.#membersMax = options.membersMax;
    this.#initialDelayMs = options.initialDelayMs;
  }

  /** Whether `tick` has anything to look at. */
  get isActive(): boolean {
    return this.members.size > 0 || this.#pending.size > 0;
  }

  join(request: JoinRequest, nowMs: number): Promise<JoinAnswer> {
    const refuse = (error: number, memberId = request.memberId) => Promise.resolve(refusedMember(error, memberId));
    const { instanceId } = request;
    let { memberId } = request;
    if (!this.#isCompatible(request)) return refuse(ErrorCode.inconsistentGroupProtocol);
    if (memberId === "") {
      if (this.members.size + this.#pending.size >= this.#membersMax) return refuse(ErrorCode.groupMaxSizeReached);
      memberId = `${instanceId ?? request.clientId}-${crypto.randomUUID()}`;
      const predecessor = instanceId === null ? undefined : this.#byInstance(instanceId);
      if (predecessor !== undefined && this.state === "stable" && sameProtocols(predecessor, request)) {
        return Promise.resolve(this.#replace(predecessor, { ...request, memberId }, nowMs));
      } else if (predecessor !== undefined) {
        this.#drop(predecessor, ErrorCode.fencedInstanceId);
      } else if (instanceId === null && request.needsKnownId) {
        this.#pending.set(memberId, nowMs + request.sessionTimeoutMs);
        return refuse(ErrorCode.memberIdRequired, memberId);
      }
    } else {
      const fault = this.#pending.has(memberId) ? ErrorCode.none : this.#memberFault(memberId, instanceId);
      if (fault !== 0) return refuse(fault);
    }
    this.#pending.delete(memberId);

    const known = this.members.get(memberId);
    if (known !== undefined && this.#mayKeepPlace(known, request)) {
      known.lastSeenMs = nowMs;
      return Promise.resolve(this.#joined(known));
    }
    return new Promise((resolve) => {
      known?.onJoined?.(refusedMember(ErrorCode.unknownMemberId, memberId));
      this.members.set(memberId, {
        ...request,
        id: memberId,
        assignment: known?.assignment ?? nothing,
        lastSeenMs: nowMs,
        onJoined: resolve,
        onSynced: known?.onSynced ?? null,
      });
      this.protocolType = request.protocolType;
      if (known === undefined && this.state === "joining") this.#joinNotBeforeMs = this.#delayed(nowMs);
      this.#rebalance(nowMs);
      this.#completeJoin(nowMs);
    });
  }

  sync(
    request: { memberId: string; instanceId: string | null; generation: number; assignments: Map<string, Uint8Array> },
    nowMs: number,
  ): Promise<SyncAnswer> {
    const error = this.#fault(request);
    const member = this.members.get(request.memberId);
    if (error !== 0 || member === undefined) return Promise.resolve({ error, assignment: nothing });
    member.lastSeenMs = nowMs;
    if (this.state === "joining") {
      return Promise.resolve({ error: ErrorCode.rebalanceInProgress, assignment: nothing });
    }
    if (this.state === "stable") return Promise.resolve({ error: ErrorCode.none, assignment: member.assignment });
    return new Promise((resolve) => {
      member.onSynced?.({ error: ErrorCode.rebalanceInProgress, assignment: nothing });
      member.onSynced = resolve;
      if (member.id === this.leaderId) this.#assign(request.assignments, nowMs);
    });
  }

  heartbeat(request: { memberId: string; instanceId: string | null; generation: number }, nowMs: number): number {
    const error = this.#fault(request);
    if (error !== 0) return error;
    this.members.get(request.memberId)!.lastSeenMs = nowMs;
    return this.state === "joining" ? ErrorCode.rebalanceInProgress : ErrorCode.none;
  }

  leave(request: { memberId: string; instanceId: string | null }, nowMs: number): number {
    if (this.#pending.delete(request.memberId)) {
      this.#completeJoin(nowMs);
      return ErrorCode.none;
    }
    // A tool removes a static member by its instance id alone.
    const byInstance = request.memberId === "" && request.instanceId !== null
      ? this.#byInstance(request.instanceId)
      : undefined;
    const memberId = byInstance?.id ?? request.memberId;
    const fault = this.#memberFault(memberId, request.instanceId);
    if (fault !== 0) return fault;
    this.#remove(this.members.get(memberId)!, nowMs);
    return ErrorCode.none;
  }

  /** Whether a member may commit offsets; a client that only uses the group's name (generation −1) may while nobody is in it. */
  commitFault(request: { memberId: string; instanceId: string | null; generation: number }): number {
    if (request.generation < 0) return this.members.size === 0 ? ErrorCode.none : ErrorCode.unknownMemberId;
    const error = this.#fault(request);
    // A rebalance has begun but the member still holds its partitions: it commits them before it joins again.
    return error === 0 && this.state === "syncing" ? ErrorCode.rebalanceInProgress : error;
  }

  tick(nowMs: number): void {
    for (const [id, untilMs] of this.#pending) {
      if (nowMs >= untilMs) this.#pending.delete(id);
    }
    for (const member of [...this.members.values()]) {
      const waits = member.onJoined !== null || member.onSynced !== null;
      if (!waits && nowMs - member.lastSeenMs > member.sessionTimeoutMs) this.#remove(member, nowMs);
    }
    this.#completeJoin(nowMs);
  }

  /** Answers everyone who still waits; used when the broker stops. */
  stop(): void {
    for (const member of this.members.values()) {
      member.onJoined?.(refusedMember(ErrorCode.coordinatorNotAvailable, member.id));
      member.onSynced?.({ error: ErrorCode.coordinatorNotAvailable, assignment: nothing });
    }
    this.members.clear();
  }

  #byInstance(instanceId: string): Member | undefined {
    for (const member of this.members.values()) {
      if (member.instanceId === instanceId) return member;
    }
  }

  #memberFault(memberId: string, instanceId: string | null): number {
    const holder = instanceId === null ? undefined : this.#byInstance(instanceId);
    if (holder !== undefined && holder.id !== memberId) return ErrorCode.fencedInstanceId;
    return this.members.has(memberId) ? ErrorCode.none : ErrorCode.unknownMemberId;
  }

  #fault(request: { memberId: string; instanceId: string | null; generation: number }): number {
    const fault = this.#memberFault(request.memberId, request.instanceId);
    if (fault !== 0) return fault;
    return request.generation === this.generation ? ErrorCode.none : ErrorCode.illegalGeneration;
  }

  #isCompatible({ protocolType, protocols, memberId }: JoinRequest): boolean {
    if (protocolType === "" || protocols.length === 0) return false;
    const others = [...this.members.values()].filter((member) => member.id !== memberId);
    if (others.length === 0) return true;
    return protocolType === this.protocolType &&
      this.#common(others).some((name) => protocols.some((p) => p.name === name));
  }

  /** The protocols all of `members` know, in the order of the first. */
  #common(members: readonly Member[]): string[] {
    return members[0].protocols.map((protocol) => protocol.name)
      .filter((name) => members.every((member) => member.protocols.some((protocol) => protocol.name === name)));
  }

  /** A join that changes nothing, such as one repeated because its answer was lost, is answered without a new rebalance. */
  #mayKeepPlace(member: Member, request: JoinRequest): boolean {
    return sameProtocols(member, request) &&
      (this.state === "syncing" || (this.state === "stable" && member.id !== this.leaderId));
  }

  /**
   * A static member that came back has the place of its former self, which is fenced, and nobody else is disturbed. One that led the
   * group is told of the former self as the leader: there is nothing to assign.
   */
  #replace(predecessor: Member, request: JoinRequest, nowMs: number): JoinAnswer {
    const { leaderId } = this;
    const { memberId: id, instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols } = request;
    this.#drop(predecessor, ErrorCode.fencedInstanceId);
    this.members.set(id, {
      ...{ id, instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols },
      assignment: predecessor.assignment,
      lastSeenMs: nowMs,
      onJoined: null,
      onSynced: null,
    });
    if (leaderId === predecessor.id) this.leaderId = id;
    const { generation, protocolName } = this;
    return { error: ErrorCode.none, memberId: id, generation, protocolName, leaderId, members: [] };
  }

  #delayed(nowMs: number): number {
    return Math.min(nowMs + this.#initialDelayMs, this.#joinDeadlineMs);
  }

  #rebalance(nowMs: number): void {
    if (this.state === "joining") return;
    const isNew = this.state === "empty";
    for (const member of this.members.values()) {
      member.onSynced?.({ error: ErrorCode.rebalanceInProgress, assignment: nothing });
      member.onSynced = null;
    }
    this.state = "joining";
    const longest = Math.max(...Array.from(this.members.values(), (member) => member.rebalanceTimeoutMs));
    this.#joinDeadlineMs = nowMs + longest;
    this.#joinNotBeforeMs = isNew ? this.#delayed(nowMs) : nowMs;
  }

  #completeJoin(nowMs: number): void {
    if (this.state !== "joining") return;
    const late = [...this.members.values()].filter((member) => member.onJoined === null);
    const complete = late.length === 0 && this.#pending.size === 0 && nowMs >= this.#joinNotBeforeMs;
    if (!complete && nowMs < this.#joinDeadlineMs) return;
    for (const member of late) this.members.delete(member.id);
    this.generation++;
    if (this.members.size === 0) {
      this.state = "empty";
      this.protocolName = null;
      this.leaderId = "";
      return;
    }
    this.state = "syncing";
    const members = [...this.members.values()];
    this.protocolName = this.#common(members)[0];
    if (!this.members.has(this.leaderId)) this.leaderId = members[0].id;
    for (const member of members) {
      member.lastSeenMs = nowMs;
      const { onJoined } = member;
      member.onJoined = null;
      onJoined?.(this.#joined(member));
    }
  }

  #joined(member: Member): JoinAnswer {
    const isLeader = member.id === this.leaderId;
    const metadataOf = (member: Member) =>
      member.protocols.find((protocol) => protocol.name === this.protocolName)?.metadata ?? nothing;
    return {
      error: ErrorCode.none,
      memberId: member.id,
      generation: this.generation,
      protocolName: this.protocolName,
      leaderId: this.leaderId,
      members: isLeader
        ? Array.from(this.members.values(), (member) => ({
          id: member.id,
          instanceId: member.instanceId,
          metadata: metadataOf(member),
        }))
        : [],
    };
  }

  #assign(assignments: Map<string, Uint8Array>, nowMs: number): void {
    this.state = "stable";
    for (const member of this.members.values()) {
      member.assignment = assignments.get(member.id) ?? nothing;
      if (member.onSynced === null) continue;
      member.lastSeenMs = nowMs;
      member.onSynced({ error: ErrorCode.none, assignment: member.assignment });
      member.onSynced = null;
    }
  }

  #drop(member: Member, error: number): void {
    member.onJoined?.(refusedMember(error, member.id));
    member.onSynced?.({ error, assignment: nothing });
    this.members.delete(member.id);
  }

  #remove(member: Member, nowMs: number): void {
    this.#drop(member, ErrorCode.unknownMemberId);
    if (this.members.size > 0) this.#rebalance(nowMs);
    else if (this.state !== "empty") {
      this.state = "joining";
      this.#joinDeadlineMs = nowMs;
    }
    this.#completeJoin(nowMs);
  }
}

/** The answer to a join that was refused. */
export function refusedMember(error: number, memberId: string): JoinAnswer {
  return { error, memberId, generation: -1, protocolName: null, leaderId: "", members: [] };
}

function sameProtocols(a: Pick<JoinRequest, "protocols">, b: Pick<JoinRequest, "protocols">): boolean {
  return a.protocols.length === b.protocols.length &&
    a.protocols.every(({ name, metadata }, index) =>
      name === b.protocols[index].name && sameBytes(metadata, b.protocols[index].metadata)
    );
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
