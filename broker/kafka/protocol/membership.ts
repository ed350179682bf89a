/**
 * JoinGroup, SyncGroup, Heartbeat and LeaveGroup: being a member of a consumer group. What they mean is in groups/group.ts.
 *
 *     JoinGroup request v0-9                         response
 *       group, session_timeout_ms int32,               throttle_ms int32  v2+
 *       rebalance_timeout_ms int32  v1+                error int16, generation int32,
 *       member_id, instance_id string?  v5+            protocol_type string?  v7+,
 *       protocol_type,                                 protocol_name string (nullable v7+),
 *       [protocols] name, metadata bytes               leader, skip_assignment bool  v9+, member_id,
 *       reason string?  v8+                            [members] member_id, instance_id string?  v5+, metadata bytes
 *
 *     SyncGroup request v0-5                         response
 *       group, generation int32, member_id,            throttle_ms int32  v1+
 *       instance_id string?  v3+,                      error int16
 *       protocol_type string?  v5+,                    protocol_type string?  v5+
 *       protocol_name string?  v5+,                    protocol_name string?  v5+
 *       [assignments] member_id, bytes                 assignment bytes
 *
 *     Heartbeat request v0-4                         response
 *       group, generation int32, member_id,            throttle_ms int32  v1+, error int16
 *       instance_id string?  v3+
 *
 *     LeaveGroup request v0-5                        response
 *       group                                          throttle_ms int32  v1+, error int16
 *       member_id  to v2                               [members] member_id, instance_id string?, error int16  v3+
 *       [members] member_id, instance_id string?,
 *         reason string?  v5+                v3+
 *
 * @module
 */
import { refusedMember } from "../groups/group.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

/** A session may last from the first to the second, in milliseconds. */
const sessionTimeoutsMs = [100, 30 * 60 * 1000] as const;

export const joinGroup: Api = {
  key: 11,
  name: "JoinGroup",
  minVersion: 0,
  maxVersion: 9,
  flexibleFrom: 6,

  async handle(broker, { version, body, clientId, clientHost }, response) {
    const groupId = body.text();
    const sessionTimeoutMs = body.int32();
    const rebalanceTimeoutMs = version >= 1 ? body.int32() : sessionTimeoutMs;
    const memberId = body.text();
    const instanceId = version >= 5 ? body.nullableText() : null;
    const protocolType = body.text();
    const protocols = body.list(() => {
      const name = body.text();
      const metadata = body.blob().slice();
      body.done();
      return { name, metadata };
    });

    const allowed = sessionTimeoutMs >= sessionTimeoutsMs[0] && sessionTimeoutMs <= sessionTimeoutsMs[1];
    const group = groupId === "" ? null : broker.groups.open(groupId);
    const answer = groupId === ""
      ? refusedMember(ErrorCode.invalidGroupId, memberId)
      : !allowed
      ? refusedMember(ErrorCode.invalidSessionTimeout, memberId)
      : group === null
      ? refusedMember(ErrorCode.groupMaxSizeReached, memberId)
      : await group.join({
        memberId,
        instanceId,
        clientId,
        clientHost,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        protocolType,
        protocols,
        needsKnownId: version >= 4,
      }, broker.clock.now());

    if (version >= 2) response.int32(0);
    response.int16(answer.error).int32(answer.generation);
    if (version >= 7) response.text(answer.error === 0 ? protocolType : null);
    response.text(version >= 7 ? answer.protocolName : answer.protocolName ?? "");
    response.text(answer.leaderId);
    if (version >= 9) response.boolean(false);
    response.text(answer.memberId);
    response.list(answer.members, (member) => {
      response.text(member.id);
      if (version >= 5) response.text(member.instanceId);
      response.blob(member.metadata).done();
    });
    response.done();
  },
};

export const syncGroup: Api = {
  key: 14,
  name: "SyncGroup",
  minVersion: 0,
  maxVersion: 5,
  flexibleFrom: 4,

  async handle(broker, { version, body }, response) {
    const group = broker.groups.get(body.text());
    const generation = body.int32();
    const memberId = body.text();
    const instanceId = version >= 3 ? body.nullableText() : null;
    if (version >= 5) {
      body.nullableText();
      body.nullableText();
    }
    const assignments = new Map(body.list(() => {
      const member = body.text();
      const assignment = body.blob().slice();
      body.done();
      return [member, assignment] as const;
    }));
    const answer = await group?.sync({ memberId, instanceId, generation, assignments }, broker.clock.now()) ??
      { error: ErrorCode.unknownMemberId, assignment: new Uint8Array(0) };

    if (version >= 1) response.int32(0);
    response.int16(answer.error);
    if (version >= 5) {
      const known = answer.error === 0 ? group : null;
      response.text(known?.protocolType ?? null).text(known?.protocolName ?? null);
    }
    response.blob(answer.assignment).done();
  },
};

export const heartbeat: Api = {
  key: 12,
  name: "Heartbeat",
  minVersion: 0,
  maxVersion: 4,
  flexibleFrom: 4,

  handle(broker, { version, body }, response) {
    const group = broker.groups.get(body.text());
    const generation = body.int32();
    const memberId = body.text();
    const instanceId = version >= 3 ? body.nullableText() : null;
    const error = group?.heartbeat({ memberId, instanceId, generation }, broker.clock.now());
    if (version >= 1) response.int32(0);
    response.int16(error ?? ErrorCode.unknownMemberId).done();
  },
};

export const leaveGroup: Api = {
  key: 13,
  name: "LeaveGroup",
  minVersion: 0,
  maxVersion: 5,
  flexibleFrom: 4,

  handle(broker, { version, body }, response) {
    const group = broker.groups.get(body.text());
    const leave = (memberId: string, instanceId: string | null) =>
      group?.leave({ memberId, instanceId }, broker.clock.now()) ?? ErrorCode.unknownMemberId;
    if (version >= 1) response.int32(0);
    if (version < 3) {
      response.int16(leave(body.text(), null)).done();
      return;
    }
    const members = body.list(() => {
      const memberId = body.text();
      const instanceId = body.nullableText();
      if (version >= 5) body.nullableText();
      body.done();
      return { memberId, instanceId };
    });
    response.int16(ErrorCode.none);
    response.list(members, ({ memberId, instanceId }) => {
      response.text(memberId).text(instanceId).int16(leave(memberId, instanceId)).done();
    });
    response.done();
  },
};
