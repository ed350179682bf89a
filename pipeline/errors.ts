/**
 * The four kinds of failure the pipeline tells apart. Anything else is a bug: the task crashes and resumes from the checkpoint.
 *
 * @module
 */

/** One thing wrong with a configuration or definition: `where` names the setting or `stream.field` to fix. */
export interface Fault {
  readonly where: string;
  readonly problem: string;
}

/** The user has to change something and start again. Carries every fault found, never only the first. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[] | Fault) {
    const list = Array.isArray(faults) ? faults as readonly Fault[] : [faults as Fault];
    super(list.map((fault) => `${fault.where}: ${fault.problem}`).join("\n"));
    this.faults = list;
  }
}

/** One record cannot be read. It goes to the dead letters and processing goes on. */
export class MalformedRecordError extends Error {
  override readonly name = "MalformedRecordError";
}

/** Something outside is away or overloaded. Retry with back-off; the source pauses meanwhile. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

/** Another process owns this work, or a race was lost. Stop; never retry. */
export class ConflictError extends Error {
  override readonly name = "ConflictError";
}

/** Of several failures the one to tell: one that no repeat mends, where there is any. */
export function gravest(errors: readonly unknown[]): unknown {
  return errors.find((error) => !(error instanceof UnavailableError)) ?? errors[0];
}
