/**
 * The sources and deliveries of this process: each runs by itself, and one that fails leaves the others alone.
 *
 * @module
 */
import type { Loaded } from "../pipeline/plan/load.ts";
import type { ConnectorControl } from "../pipeline/runtime/connector_status.ts";
import type { ConnectorOptions, ConnectorUnit } from "./connector_unit.ts";
import { DeliveryUnit } from "./delivery_unit.ts";
import { SourceUnit } from "./source_unit.ts";

/** A unit for each source and delivery that is defined. */
export async function connectorsOf(
  { sources, deliveries }: Pick<Loaded, "sources" | "deliveries">,
  options: ConnectorOptions,
): Promise<ConnectorUnit[]> {
  return await Promise.all([
    ...sources.map(({ plan }) => SourceUnit.create(plan, options)),
    ...deliveries.map(({ plan }) => DeliveryUnit.create(plan, options)),
  ]);
}

/** What the API may ask of the sources and deliveries of this process, and do to them. */
export function createConnectorControl(units: readonly ConnectorUnit[]): ConnectorControl {
  const named = (name: string) => {
    const unit = units.find((one) => one.name === name);
    if (!unit) throw new Error(`There is no source or delivery ${name}`);
    return unit;
  };
  return {
    status: () => units.map((unit) => unit.status()),
    stop: (name) => named(name).stop(),
    start: (name) => named(name).start(),
    limit: (name, perSecond) => named(name).limit(perSecond),
    rejected: (name, options) => named(name).rejected(options),
  };
}
