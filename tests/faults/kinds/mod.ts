import type { Kind } from "../kind.ts";
import { kill9 } from "./kill9.ts";
import { stop } from "./stop.ts";

/** All kinds of faults, in the order they are run. */
export const KINDS: readonly Kind[] = [kill9, stop];
