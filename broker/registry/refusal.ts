/** A request that the registry refuses, with the status and error code that Confluent's registry gives. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  /** Confluent's code: the status and two digits more. */
  readonly code: number;
  readonly details: readonly string[];

  constructor(code: number, message: string, details: readonly string[] = []) {
    super(message);
    this.code = code;
    this.status = code < 1000 ? code : Math.floor(code / 100);
    this.details = details;
  }
}
