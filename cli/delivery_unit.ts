/**
 * One delivery of this process with all that belongs to it, and what can be asked of it and done to it by hand.
 *
 * @module
 */
import { systemClock } from "../pipeline/clock.ts";
import { refusedBy } from "../pipeline/deliveries/dead_letters.ts";
import { createDelivery, type Delivery } from "../pipeline/deliveries/delivery_runner.ts";
import {
  type DeliveryKind,
  deliveryKind,
  type DeliveryPlan,
  type Outside,
} from "../pipeline/deliveries/delivery_spec.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { createCommittedLog } from "../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../pipeline/log/transactional_publisher.ts";
import type { Until } from "../pipeline/runtime/bounds.ts";
import type { ConnectorStatus, RejectedRecord } from "../pipeline/runtime/connector_status.ts";
import { ManagedTask } from "../pipeline/runtime/managed_task.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import { missingSecret } from "../pipeline/secrets.ts";
import { setAsideTopics } from "../pipeline/sinks/set_aside.ts";
import { readRejected } from "../pipeline/sources/rejected.ts";
import type { ConnectorOptions, ConnectorUnit } from "./connector_unit.ts";

export class DeliveryUnit implements ConnectorUnit {
  readonly #plan: DeliveryPlan;
  readonly #options: ConnectorOptions;
  readonly #managed: ManagedTask;
  readonly #delivery: Delivery;
  readonly #cluster: Cluster;
  readonly #ended = new AbortController();
  readonly #kinds: readonly DeliveryKind[];

  private constructor(plan: DeliveryPlan, options: ConnectorOptions, kinds: readonly DeliveryKind[]) {
    this.#plan = plan;
    this.#options = options;
    const { config, addresses, log } = options;
    const clusterOptions = { clientId: "tailrace", ...config.kafka };
    this.#cluster = new Cluster(addresses.brokers, clusterOptions);
    this.#kinds = kinds;
    this.#delivery = createDelivery(plan, {
      clock: systemClock,
      newCluster: (clientId) => new Cluster(addresses.brokers, { ...clusterOptions, clientId }),
      admin: new KafkaAdmin(addresses.brokers, config.kafka, "tailrace-admin"),
      registry: createRegistryClient({ url: addresses.registryUrl }),
      log: createCommittedLog(this.#cluster, { clock: systemClock }),
      publisher: (transactionalId) =>
        createTransactionalPublisher(this.#cluster, {
          transactionalId,
          clock: systemClock,
          signal: this.#ended.signal,
        }),
      say: (level, message) => log[level](`delivery ${plan.name}: ${message}`),
      context: this.#context(),
      partitions: config.mode === "dev" ? config.partitions : undefined,
    });
    this.#managed = new ManagedTask(plan.name, {
      what: "delivery",
      isAtRest: this.missing() !== null,
      clock: systemClock,
      log: (level, message) => log[level](message),
      run: (signal) => this.#delivery.run(signal),
      onRest: () => this.#delivery.rest("stopped", null),
    });
  }

  static async create(plan: DeliveryPlan, options: ConnectorOptions): Promise<DeliveryUnit> {
    return new DeliveryUnit(plan, options, await Promise.all(plan.to.map(deliveryKind)));
  }

  get name(): string {
    return this.#plan.name;
  }

  get isGivenUp(): boolean {
    return this.#managed.isGivenUp;
  }

  missing(): string | null {
    const { to } = this.#plan;
    const lacking = this.#kinds.map((kind, i) => kind.missing?.(to[i], this.#context()) ?? null);
    return missingSecret(to, this.#options.secrets) ?? lacking.find((reason) => reason !== null) ?? null;
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#managed.run(signal);
  }

  runBounded(signal: AbortSignal, until: Until): Promise<boolean> {
    const { log } = this.#options;
    const bound = until === "latest" ? { isBounded: true } : { isBounded: true, untilMs: until };
    return supervise(`delivery ${this.name}`, (ending) => this.#delivery.run(ending, bound), {
      clock: systemClock,
      signal,
      log: (level, message) => log[level](message),
    });
  }

  stop(): Promise<void> {
    return this.#managed.stop();
  }

  async start(): Promise<void> {
    // One that has to be set up first stays at rest, and says so.
    if (this.missing() === null) await this.#managed.start();
  }

  limit(perSecond: number | null): void {
    this.#delivery.limit(perSecond);
  }

  status(): ConnectorStatus {
    const to = this.#kinds.map((kind, i) => kind.describe(this.#plan.to[i]));
    const status = { ...this.#delivery.status(), to };
    if (this.#managed.isRunning || this.isGivenUp) return status;
    return { ...status, state: "stopped", reason: this.missing() };
  }

  async rejected(
    { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
  ): Promise<readonly RejectedRecord[]> {
    const { dead } = setAsideTopics(this.#plan.topic);
    if (await this.#cluster.leaders(dead) === null) return [];
    const log = createCommittedLog(this.#cluster, { clock: systemClock });
    return await readRejected(log, dead, { tell: refusedBy(this.name), limit, signal });
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#cluster.close();
  }

  #context(): Outside {
    const { config, addresses, secrets, cassandra } = this.#options;
    return { secrets, cassandra, databaseUrl: addresses.databaseUrl, dataDir: config.dataDir, fetch };
  }
}
