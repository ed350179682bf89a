/**
 * FindCoordinator, ListGroups, DescribeGroups and DeleteGroups.
 *
 *     FindCoordinator request v0-4                   response
 *       key  to v3                                     throttle_ms int32  v1+
 *       key_type int8  v1+                             error int16, message string?  v1+, node int32, host, port int32   to v3
 *       [keys]  v4+                                    [coordinators] key, node int32, host, port int32,
 *                                                        error int16, message string?                                    v4+
 *
 *     ListGroups request v0-5                        response
 *       [states]  v4+                                  throttle_ms int32  v1+
 *       [types]  v5+                                   error int16, [groups] group, protocol_type, state  v4+, type  v5+
 *
 *     DescribeGroups request v0-5                    response
 *       [groups]                                       throttle_ms int32  v1+
 *       operations bool  v3+                           [groups] error int16, group, state, protocol_type, protocol_name,
 *                                                        [members] member_id, instance_id string?  v4+, client_id,
 *                                                          client_host, metadata bytes, assignment bytes
 *                                                        operations int32  v3+
 *
 *     DeleteGroups request v0-2                      response
 *       [groups]                                       throttle_ms int32, [results] group, error int16
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import type { GroupState } from "../groups/group.ts";
import { nodeId } from "../options.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

/** Kafka's names for the states. */
const stateNames: Record<GroupState, string> = {
  empty: "Empty",
  joining: "PreparingRebalance",
  syncing: "CompletingRebalance",
  stable: "Stable",
};

/** What a coordinator is asked for: a group, or a transactional id. */
const coordinators = [0, 1];

export const findCoordinator: Api = {
  key: 10,
  name: "FindCoordinator",
  minVersion: 0,
  maxVersion: 4,
  flexibleFrom: 3,

  handle(broker, { version, body }, response) {
    const keys = version >= 4 ? [] : [body.text()];
    const type = version >= 1 ? body.int8() : 0;
    if (version >= 4) keys.push(...body.list(() => body.text()));
    const { host, port } = broker.advertised;
    const [error, message] = coordinators.includes(type)
      ? [ErrorCode.none, null]
      : [ErrorCode.invalidRequest, "This broker has no share groups"];

    if (version >= 1) response.int32(0);
    if (version >= 4) {
      response.list(keys, (key) => {
        response.text(key).int32(nodeId).text(host).int32(port).int16(error).text(message).done();
      });
    } else {
      response.int16(error);
      if (version >= 1) response.text(message);
      response.int32(nodeId).text(host).int32(port);
    }
    response.done();
  },
};

export const listGroups: Api = {
  key: 16,
  name: "ListGroups",
  minVersion: 0,
  maxVersion: 5,
  flexibleFrom: 3,

  handle(broker, { version, body }, response) {
    const lowerCase = () => body.text().toLowerCase();
    const states = version >= 4 ? body.list(lowerCase) : [];
    const types = version >= 5 ? body.list(lowerCase) : [];
    const groups = broker.groups.ids().map((id) => summary(broker, id)).filter(({ state }) =>
      (states.length === 0 || states.includes(state.toLowerCase())) && (types.length === 0 || types.includes("classic"))
    );
    if (version >= 1) response.int32(0);
    response.int16(ErrorCode.none);
    response.list(groups, ({ id, state, protocolType }) => {
      response.text(id).text(protocolType);
      if (version >= 4) response.text(state);
      if (version >= 5) response.text("classic");
      response.done();
    });
    response.done();
  },
};

function summary(broker: Broker, id: string): { id: string; state: string; protocolType: string } {
  const group = broker.groups.get(id);
  const state = group !== null ? stateNames[group.state] : broker.groups.offsets.has(id) ? "Empty" : "Dead";
  return { id, state, protocolType: group?.protocolType ?? (state === "Empty" ? "consumer" : "") };
}

export const describeGroups: Api = {
  key: 15,
  name: "DescribeGroups",
  minVersion: 0,
  maxVersion: 5,
  flexibleFrom: 5,

  handle(broker, { version, body }, response) {
    const ids = body.list(() => body.text());
    if (version >= 1) response.int32(0);
    response.list(ids, (id) => {
      const { state, protocolType } = summary(broker, id);
      const group = broker.groups.get(id);
      response.int16(ErrorCode.none).text(id).text(state).text(protocolType).text(group?.protocolName ?? "");
      response.list([...group?.members.values() ?? []], (member) => {
        const protocol = member.protocols.find(({ name }) => name === group!.protocolName);
        response.text(member.id);
        if (version >= 4) response.text(member.instanceId);
        response.text(member.clientId).text(`/${member.clientHost}`);
        response.blob(protocol?.metadata ?? new Uint8Array(0)).blob(member.assignment).done();
      });
      if (version >= 3) response.int32(-0x8000_0000);
      response.done();
    });
    response.done();
  },
};

export const deleteGroups: Api = {
  key: 42,
  name: "DeleteGroups",
  minVersion: 0,
  maxVersion: 2,
  flexibleFrom: 2,

  handle(broker, { body }, response) {
    const ids = body.list(() => body.text());
    response.int32(0);
    response.list(ids, (id) => {
      const members = broker.groups.get(id)?.members.size ?? 0;
      const known = members > 0 || broker.groups.offsets.has(id);
      const error = !known ? ErrorCode.groupIdNotFound : members > 0 ? ErrorCode.nonEmptyGroup : ErrorCode.none;
      if (error === 0) broker.groups.offsets.forgetGroup(id);
      response.text(id).int16(error).done();
    });
    response.done();
  },
};
