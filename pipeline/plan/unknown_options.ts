import type { Fault } from "../errors.ts";
import { nearestName } from "../nearest_name.ts";

/** Every option of `Spec`, so that none is forgotten; what they stand for here is the caller's. */
export type KnownOptions<Spec> = Readonly<Record<Exclude<keyof Spec, "kind">, unknown>>;

/**
 * A fault for each option that is given and not known, such as a misspelt one, which would do nothing.
 *
 * @param where the options' place in the definition; empty for the definition itself
 */
export function unknownOptions<Spec extends object>(given: Spec, known: KnownOptions<Spec>, where: string): Fault[] {
  const names = Object.keys(known);
  return Object.keys(given).filter((name) => name !== "kind" && !Object.hasOwn(known, name)).map((name) => {
    const near = nearestName(name, names);
    return {
      where: where === "" ? name : `${where}.${name}`,
      problem: `is no option; ${near === undefined ? `there are ${names.join(", ")}` : `did you mean ${near}?`}`,
    };
  });
}
