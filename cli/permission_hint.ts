/** An error's message, and what to do where it is Deno that does not let the task do it. */
export function withPermissionHint(error: Error): string {
  if (!(error instanceof Deno.errors.NotCapable)) return error.message;
  const [what] = error.message.split(", run again");
  return `${what}, which this task's permission set does not give: add it to "permissions" in deno.json (docs/security.md)`;
}
