import project from "../deno.json" with { type: "json" };

/** Tailrace's version. */
export const VERSION: string = project.version;
