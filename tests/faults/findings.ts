/** How many examples of each sink are kept. */
const EXAMPLES_MAX = 5;

/** Where something was found to be not as it must be. `reader`: of the results topic, while the faults happened. */
export type Place =
  | "broker"
  | "table"
  | "topic"
  | "reader"
  | "late and dead"
  | "ledger"
  | "archive"
  | "lake table"
  | "behaviour";

interface Counts {
  lost: number;
  duplicated: number;
  wrong: number;
  readonly examples: string[];
}

/** What a comparison found, by place: counts, and examples in words. */
export class Findings {
  readonly #places = new Map<Place, Counts>();

  note(what: "lost" | "duplicated" | "wrong", place: Place, example: string): void {
    const counts = this.#at(place);
    counts[what]++;
    if (counts.examples.length < EXAMPLES_MAX) counts.examples.push(`${what}: ${example}`);
  }

  add(other: Findings): void {
    for (const [place, { lost, duplicated, wrong, examples }] of other.#places) {
      const counts = this.#at(place);
      counts.lost += lost;
      counts.duplicated += duplicated;
      counts.wrong += wrong;
      counts.examples.push(...examples.slice(0, EXAMPLES_MAX - counts.examples.length));
    }
  }

  get lost(): number {
    return this.#sum("lost");
  }

  get duplicated(): number {
    return this.#sum("duplicated");
  }

  get wrong(): number {
    return this.#sum("wrong");
  }

  get total(): number {
    return this.lost + this.duplicated + this.wrong;
  }

  /** Lines for people. */
  describe(): string[] {
    return [...this.#places].flatMap(([place, { lost, duplicated, wrong, examples }]) => [
      `${place}: ${lost} lost, ${duplicated} duplicated, ${wrong} wrong`,
      ...examples.map((example) => `  ${example}`),
    ]);
  }

  #at(place: Place): Counts {
    const counts = this.#places.get(place) ?? { lost: 0, duplicated: 0, wrong: 0, examples: [] };
    this.#places.set(place, counts);
    return counts;
  }

  #sum(what: "lost" | "duplicated" | "wrong"): number {
    return [...this.#places.values()].reduce((sum, counts) => sum + counts[what], 0);
  }
}
