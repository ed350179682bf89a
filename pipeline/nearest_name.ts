/** The known name that was most likely meant by `name`; undefined where none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const near = known.map((one) => ({ one, apart: apart(one, name) })).filter(({ apart }) => apart <= 2);
  return near.sort((a, b) => a.apart - b.apart)[0]?.one;
}

function apart(known: string, name: string): number {
  return known.toLowerCase() === name.toLowerCase() ? 0 : distance(known, name);
}

/** Levenshtein distance, by the row-at-a-time recurrence of Wagner and Fischer. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
