import { UnavailableError } from "../pipeline/errors.ts";

/**
 * Waits for `work` so long at most. What it does then goes on: only the caller is told to ask again.
 *
 * @throws UnavailableError that says `late`, when it takes longer
 */
export async function within<T>(ms: number, late: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new UnavailableError(late)), ms);
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
