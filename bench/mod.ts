import type { Call } from "../cli/commands.ts";
export function bench(_call: Call): Promise<number> {
  return Promise.resolve(0);
}
