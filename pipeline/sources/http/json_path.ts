/**
 * Places inside JSON, as definitions write them.
 *
 *     data.items          a field of a field           items[0].id         an item of an array, counted from 0
 *     ["odd.name"].id     a field with any name        (empty)             all of it
 *
 * @module
 */

export type JsonPath = readonly (string | number)[];

const DEPTH_MAX = 32;
const STEP = /(?:^|(?<!^)\.)([^.[\]"]+)|\[(\d{1,7})\]|\[("(?:[^"\\]|\\.)*")\]/y;

/** The path's steps; or, as a string, what is wrong with it. */
export function parseJsonPath(text: unknown): JsonPath | string {
  const problem = `${
    JSON.stringify(text)
  } is no path: write fields and items as in data.items, items[0].id or ["odd.name"]`;
  if (typeof text !== "string") return problem;
  const steps: (string | number)[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < text.length) {
    const match = STEP.exec(text);
    if (match === null) return problem;
    const [, name, index, quoted] = match;
    try {
      steps.push(name ?? (index === undefined ? JSON.parse(quoted) as string : Number(index)));
    } catch {
      return problem;
    }
    if (steps.length > DEPTH_MAX) return `${text.slice(0, 60)}.. has more than ${DEPTH_MAX} steps`;
  }
  return steps;
}

/** A path that was checked before. @throws Error for one that was not */
export function jsonPath(text: string): JsonPath {
  const path = parseJsonPath(text);
  if (typeof path === "string") throw new Error(path);
  return path;
}

/** The value there; undefined where there is none. */
export function valueAt(value: unknown, path: JsonPath): unknown {
  let inner = value;
  for (const step of path) {
    if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, step)) return undefined;
    inner = (inner as Record<string | number, unknown>)[step];
  }
  return inner;
}

/** A copy in which the value is there; objects are made on the way to it. */
export function withValueAt(value: unknown, path: JsonPath, given: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return given;
  if (typeof step === "number") {
    const items = Array.isArray(value) ? [...value] : [];
    items[step] = withValueAt(items[step], rest, given);
    return items;
  }
  const object = typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  return { ...object, [step]: withValueAt(object[step], rest, given) };
}
