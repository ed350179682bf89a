import { BACKFILL_OPTIONS } from "../../cli/backfill.ts";
import { EXPORT_OPTIONS } from "../../cli/export.ts";
import { REWIND_OPTIONS } from "../../cli/operations.ts";
import { PREVIEW_OPTIONS } from "../../cli/preview.ts";

const flags = (options: readonly { readonly flag: string }[]) => options.map(({ flag }) => flag);

/** The flags of commands that guides show, by command. */
export const COMMANDS_SHOWN: Readonly<Record<string, readonly string[]>> = {
  backfill: flags(BACKFILL_OPTIONS),
  preview: flags(PREVIEW_OPTIONS),
  export: flags(EXPORT_OPTIONS),
  rewind: flags(REWIND_OPTIONS),
};
