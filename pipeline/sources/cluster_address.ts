import { ConfigError } from "../errors.ts";
import type { ClusterOptions } from "../log/open_connection.ts";
import type { Secrets } from "../secrets.ts";
import type { ClusterReference } from "./definition.ts";

/** Where a cluster is, and how it is entered. Holds secrets: not to be shown. */
export interface ClusterAddress {
  readonly brokers: readonly string[];
  readonly cluster: ClusterOptions;
  readonly registryUrl: string;
}

/**
 * What a reference comes to; Tailrace's own cluster for null.
 *
 * @throws ConfigError when a secret is not set, or is no list of brokers
 */
export function clusterAddress(
  reference: ClusterReference | null,
  { secrets, own }: { readonly secrets: Secrets; readonly own: ClusterAddress },
): ClusterAddress {
  if (reference === null) return own;
  const brokers = secrets.get(reference.brokers).split(",").map((broker) => broker.trim()).filter((one) => one !== "");
  if (brokers.length === 0 || brokers.some((broker) => !/^(\[[^\]]+\]|[^:\s]+):\d{1,5}$/.test(broker))) {
    const { secret } = reference.brokers;
    throw new ConfigError({
      where: `secret ${secret}`,
      problem: "is not a list of brokers such as host:9092,other:9092",
    });
  }
  const { sasl } = reference;
  return {
    brokers,
    cluster: {
      clientId: own.cluster.clientId,
      ssl: reference.ssl ?? false,
      sasl: sasl === undefined ? null : {
        mechanism: sasl.mechanism,
        username: secrets.get(sasl.username),
        password: secrets.get(sasl.password),
      },
    },
    registryUrl: reference.registry === undefined ? own.registryUrl : secrets.get(reference.registry),
  };
}
