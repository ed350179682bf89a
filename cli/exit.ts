/** How a command ends, as an exit code. */
export const Exit = {
  ok: 0,
  /** Something failed while it ran. */
  failed: 1,
  /** The command line, a setting or a definition is wrong: change it and start again. */
  misconfigured: 2,
} as const;
