/**
 * What is asked of a redrive, and what it answers.
 *
 * @module
 */
import type { Forecast } from "./forecast.ts";
import type { Letter, LetterPlace } from "./letter.ts";
import { type LetterFilter, SelectionError } from "./selection.ts";

/** Another value for a letter. */
export type RedriveEdit =
  | {
    readonly kind: "json";
    readonly value: unknown;
    /** The letter's own schema, the newest of its topic, or the one with this id. */
    readonly schema: "letter" | "newest" | number;
  }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

export interface RedriveRequest {
  /** By what is told of them, oldest first; or one by one. */
  readonly selection: { readonly filter: LetterFilter } | { readonly letters: readonly LetterPlace[] };
  /** Only tells what would happen. */
  readonly dryRun: boolean;
  /** For one letter, named by its place. */
  readonly edit?: RedriveEdit;
  /** Records written at most; `CAP_DEFAULT` unless told. */
  readonly cap?: number;
  /** Records a second; `RATE_DEFAULT` unless told. */
  readonly rate?: number;
  /** Also what was redriven already, and what would be a dead letter again. Never more than `ATTEMPTS_MAX` attempts. */
  readonly force?: boolean;
  /** `next` of the report before, asked with the same selection. */
  readonly cursor?: string;
}

export interface RedriveItem {
  readonly letter: Letter;
  /** `skipped`: it was redriven already. In a dry run, `redriven` is what would be. */
  readonly outcome: "redriven" | "skipped" | "refused";
  /** Why it was skipped or refused. */
  readonly reason: string | null;
  /** Where it goes, and which attempt it is; null when it does not. */
  readonly target: { readonly topic: string; readonly partition: number; readonly attempt: number } | null;
  /** What becomes of it with the definition and the schemas as they are now; null where that was not looked at. */
  readonly forecast: Forecast | null;
}

export interface RedriveReport {
  readonly dryRun: boolean;
  readonly redriven: number;
  readonly skipped: number;
  readonly refused: number;
  /** The first `ITEMS_MAX`, in the order they were looked at. */
  readonly items: readonly RedriveItem[];
  /** Where to go on when the cap or the time was reached; null when nothing is left. */
  readonly next: string | null;
}

/** @throws SelectionError for an edit of more than one letter */
export function checkEdit({ edit, selection }: RedriveRequest): void {
  if (edit === undefined || ("letters" in selection && selection.letters.length === 1)) return;
  throw new SelectionError({ where: "edit", problem: "is for one letter, named by its place" });
}
