/**
 * Which letters go back, and as what.
 *
 * @module
 */
import { avroType } from "../codec/avro_values.ts";
import { MalformedRecordError } from "../errors.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { Offsets } from "../log/transactions.ts";
import type { AvroSchema, Plan } from "../plan/plan.ts";
import { redriveHeaders } from "../runtime/redrive_headers.ts";
import { type Forecast, Forecaster } from "./forecast.ts";
import type { Journal } from "./journal.ts";
import { ATTEMPTS_MAX, type FullLetter, type Letter } from "./letter.ts";
import type { RedriveEdit, RedriveItem, RedriveRequest } from "./redrive_request.ts";

/** A record that is to be written, with what is told of it. */
export interface Accepted {
  readonly item: RedriveItem;
  readonly record: OutgoingRecord;
  readonly edited: boolean;
}

/** What is asked once for all letters of a topic. */
export interface TopicState {
  readonly topic: string;
  readonly journal: Journal;
  /** Where its partitions end. */
  readonly ends: Offsets;
}

/** Decides by the definitions and schemas as they are now, and by what the journal tells of earlier redrives. */
export class RedriveRules {
  readonly #plans: readonly Plan[];
  readonly #registry: Pick<RegistryClient, "schemaById" | "latest">;
  readonly #forecasters = new Map<string, Forecaster>();

  constructor(plans: readonly Plan[], registry: Pick<RegistryClient, "schemaById" | "latest">) {
    this.#plans = plans;
    this.#registry = registry;
  }

  /** Whether and how a letter goes back. `taken`: originals that this transaction has already. */
  async decide(
    full: FullLetter,
    { request: { edit, force = false }, state, taken }: {
      readonly request: RedriveRequest;
      readonly state: TopicState;
      readonly taken: Set<string>;
    },
  ): Promise<Accepted | RedriveItem> {
    const { letter } = full;
    const not = (outcome: "skipped" | "refused", reason: string, forecast: Forecast | null = null): RedriveItem => ({
      letter,
      outcome,
      reason,
      target: null,
      forecast,
    });
    const { source, originalOffset: offset } = letter;
    if (source === null || offset === null || source.topic !== state.topic) {
      return not("refused", `no header says where in topic ${state.topic} it was`);
    }
    if (letter.isBatch) return not("refused", "it is a whole batch that could not be unpacked, not one record");
    const plan = this.#plans.find(({ name, topic }) => name === letter.pipeline && topic === state.topic);
    if (!plan) return not("refused", `no pipeline ${letter.pipeline ?? ""} reads topic ${state.topic} here`);
    const end = state.ends.get(source.partition);
    if (end === undefined || offset >= end) {
      const found = end === undefined ? "is not there" : `ends at ${end}`;
      return not(
        "refused",
        `it was at ${source.partition}/${offset}, but that partition ${found}: was the topic made anew?`,
      );
    }
    const original = `${letter.pipeline}/${source.partition}/${offset}`;
    const before = Math.max(letter.attempt, state.journal.attemptsOf(letter)) + (taken.has(original) ? 1 : 0);
    if (before > letter.attempt && (!force || taken.has(original))) {
      return not("skipped", `it was redriven already, attempt ${before}`);
    }
    const attempt = before + 1;
    if (attempt > ATTEMPTS_MAX) {
      return not("refused", `it was redriven ${before} times, and came back; ${ATTEMPTS_MAX} are the most`);
    }
    const edited = edit === undefined ? full.value : await this.#edited(full, edit);
    if (typeof edited === "string") return not("refused", edited);
    const forecast = await this.#forecaster(plan).forecast(edited, letter.timestampMs);
    if (forecast.fate === "dead" && !force) {
      return not("refused", `it would be a dead letter again: ${forecast.reason}`, forecast);
    }
    taken.add(original);
    return {
      item: {
        letter,
        outcome: "redriven",
        reason: null,
        target: { topic: state.topic, partition: source.partition, attempt },
        forecast,
      },
      record: {
        key: full.key,
        value: edited,
        headers: redriveHeaders(full.headers, { attempt, offset, pipeline: plan.name }),
        timestampMs: letter.timestampMs,
      },
      edited: edit !== undefined,
    };
  }

  #forecaster(plan: Plan): Forecaster {
    const known = this.#forecasters.get(plan.name) ?? new Forecaster(plan, this.#registry);
    this.#forecasters.set(plan.name, known);
    return known;
  }

  /** The value in place of the letter's own, or why there is none, in words. */
  async #edited({ letter }: FullLetter, edit: RedriveEdit): Promise<Uint8Array | string> {
    if (edit.kind === "bytes") return edit.bytes;
    const found = await this.#schemaFor(letter, edit.schema);
    if (typeof found === "string") return found;
    try {
      return avroType(found.schema).encodeFramed(found.id, edit.value);
    } catch (error) {
      if (error instanceof MalformedRecordError) {
        return `the new value does not fit schema ${found.id}: ${error.message}`;
      }
      throw error;
    }
  }

  async #schemaFor(
    { topic, schemaId }: Letter,
    wanted: "letter" | "newest" | number,
  ): Promise<{ readonly id: number; readonly schema: AvroSchema } | string> {
    const registry = this.#registry;
    if (wanted === "newest") {
      return await registry.latest(`${topic}-value`) ?? `the registry has no schema for subject ${topic}-value`;
    }
    const id = wanted === "letter" ? schemaId : wanted;
    if (id === null) return "the letter names no schema: say which, or take the newest";
    try {
      const schema = await registry.schemaById(id);
      return schema === null ? `schema id ${id} is not in the registry: say which, or take the newest` : { id, schema };
    } catch (error) {
      if (error instanceof MalformedRecordError) return error.message;
      throw error;
    }
  }
}
