import type { Kind } from "../kind.ts";
import { kill9 } from "./kill9.ts";
import { poison } from "./poison.ts";
import { postgresCut } from "./postgres_cut.ts";
import { postgresKill } from "./postgres_kill.ts";
import { stop } from "./stop.ts";

/** All kinds of faults, in the order they are run. */
export const KINDS: readonly Kind[] = [kill9, stop, postgresKill, postgresCut, poison];
