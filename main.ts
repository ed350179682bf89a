/**
 * The command line. Every command is also a task: `deno task dev`.
 *
 * @module
 */
import { runCommand } from "./cli/commands.ts";

if (import.meta.main) Deno.exit(await runCommand(Deno.args));
