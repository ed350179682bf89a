/** How a command ends, as an exit code. */
export const Exit = {
  ok: 0,
  /** Something failed while it ran. */
  failed: 1,
  /** The command line, a setting or a definition is wrong: change it and start again. */
  misconfigured: 2,
  /** A second Ctrl-C: it did not wait for what was under way. */
  killed: 130,
} as const;
