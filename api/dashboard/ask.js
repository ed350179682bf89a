// Asking the API: what it refuses comes as words to show.
import { askForKey } from "./session.js";

/** Longer than the API takes for anything asked here. */
const ANSWER_MS = 60_000;

export class Refused extends Error {}

/** The answer's JSON; undefined when the page is left to ask for a key. @throws Refused with what the API says */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS), ...options });
  } catch {
    throw new Refused("The server does not answer. Try again.");
  }
  if (response.status === 401) return askForKey();
  const body = await response.json().catch(() => ({ title: `Status ${response.status}` }));
  if (response.ok) return body;
  const faults = (body.errors ?? []).map(({ where, problem }) => `${where.replace(/^\w+\./, "")} ${problem}`);
  throw new Refused([body.title, body.detail, ...faults].filter(Boolean).join(". "));
}

/** The same with a body. */
export function send(method, path, body) {
  return ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}
