/**
 * Answers questions in SQL, each in a process of its own:
 *
 *     text ▶ bounded ▶ parsed (child) ▶ names and functions looked at ▶ relations captured ▶ run (child) ▶ bytes
 *
 * Only the child's DuckDB ever reads a question's text, and only after the text was seen to be one SELECT over relations that there
 * are. A child that takes too long, too much or crashes is killed, and nothing else notices.
 *
 * @module
 */
import type { Clock } from "../../pipeline/clock.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { Capture, CapturedRelation, RelationInfo, RelationName, SqlCatalog } from "./catalog.ts";
import { ChildPool } from "./child_pool.ts";
import type { View } from "./child_protocol.ts";
import { SQL_LIMITS, type SqlLimits } from "./limits.ts";
import { boundValue, PARAMETER_FORMS } from "./parameters.ts";
import { type Analysis, printed } from "./question.ts";
import { Run } from "./run.ts";
import { type AskOptions, type Question, SqlError, type SqlService } from "./service.ts";
import { Slots } from "./slots.ts";
import { viewName, withoutVersions } from "./time_travel.ts";
import { oneStatement } from "./tokens.ts";

export interface SqlServiceOptions {
  readonly catalog: SqlCatalog;
  readonly limits?: Partial<SqlLimits>;
  readonly clock: Clock;
  /** What whoever runs this should know: a child that crashed. */
  readonly log: (message: string) => void;
}

/** Processor seconds beyond the time a question has, for each thread: the runtime's own, and a start on a slow machine. */
const PROCESSOR_SPARE_SECONDS = 30;

export function createSqlService({ catalog, limits: given, clock, log }: SqlServiceOptions): SqlService {
  const limits = { ...SQL_LIMITS, ...given };
  const { memoryBytesMax, threads, answerMs } = limits;
  const processorSecondsMax = Math.ceil(answerMs / 1000) * threads + PROCESSOR_SPARE_SECONDS;
  const pool = new ChildPool({ memoryBytesMax, processorSecondsMax, clock, log });
  const slots = new Slots(limits);
  const underWay = new Map<string, Run>();
  const stopping = () => new UnavailableError("Tailrace is stopping");
  const asked = new Set<Promise<unknown>>();
  let isClosed = false;
  pool.prepare();

  /** Runs a question until `work` is through with it; what has begun to stream ends by itself. */
  const started = <T>(options: AskOptions, work: (run: Run) => Promise<T>): Promise<T> => {
    const told = start(options, work);
    asked.add(told);
    return told.finally(() => asked.delete(told));
  };
  const start = async <T>(options: AskOptions, work: (run: Run) => Promise<T>): Promise<T> => {
    if (isClosed) throw stopping();
    const run = new Run({ limits, clock, log, pool, signal: options.signal });
    const id = options.id ?? run.id;
    if (underWay.has(id)) throw new SqlError("busy", `a question with the id ${printed(id)} is under way`);
    underWay.set(id, run);
    run.whenOver(() => underWay.delete(id));
    try {
      run.whenOver(await run.waiting((signal) => slots.enter(signal)));
      return await work(run);
    } catch (error) {
      await run.end();
      throw run.reasonFor(error);
    }
  };

  return {
    relations: (options): Promise<readonly RelationInfo[]> => catalog.relations(options),

    ask: async (question, options) => {
      const sql = oneStatement(question.sql);
      checkValues(question.parameters ?? {});
      return await started(options, async (run) => {
        const id = options.id ?? run.id;
        await run.begin();
        const analysis = await run.analyzed(sql);
        checkNames(analysis, question.parameters ?? {});
        const capture = await run.captured((signal) => catalog.capture(distinct(analysis), { signal }));
        const views = viewsOf(analysis, capture);
        const told = await unversioned(run, { sql, analysis, views });
        return await run.answer({ id, question, sql: told, isAsSent: told === sql, views, capture });
      });
    },

    check: async ({ sql, parameters = {} }, options) => {
      const text = oneStatement(sql);
      checkValues(parameters);
      await started(options, async (run) => {
        await run.begin();
        checkNames(await run.analyzed(text), parameters);
        await run.end();
      });
    },

    cancel(id) {
      const run = underWay.get(id);
      run?.stop(new SqlError("cancelled", "the question was cancelled"));
      return run !== undefined;
    },

    async [Symbol.asyncDispose]() {
      isClosed = true;
      const runs = [...underWay.values()];
      for (const run of runs) run.stop(stopping());
      await Promise.all(runs.map((run) => run.end()));
      await Promise.allSettled(asked);
      await pool[Symbol.asyncDispose]();
    },
  };
}

function checkValues(parameters: NonNullable<Question["parameters"]>): void {
  for (const [name, parameter] of Object.entries(parameters)) {
    if (boundValue(parameter) === null) {
      throw new SqlError("parameter", `${printed(name)} has to be ${PARAMETER_FORMS[parameter.type]}`);
    }
  }
}

/** What is bound and what is asked for have to be the same. */
function checkNames({ parameters }: Analysis, given: NonNullable<Question["parameters"]>): void {
  for (const name of parameters) {
    if (!Object.hasOwn(given, name)) throw new SqlError("parameter", `the question has $${name}, which has no value`);
  }
  for (const name of Object.keys(given)) {
    if (!parameters.has(name)) {
      throw new SqlError("parameter", `${printed(name)} has a value, but there is no $${name}`);
    }
  }
}

function keyOf(name: RelationName): string {
  return JSON.stringify([name.schema, viewName(name)]);
}

/** Each state of a relation once; one that is read in several places, whole. */
function distinct({ relations }: Analysis): RelationName[] {
  const found = new Map<string, RelationName>();
  for (const { name } of relations) {
    const { within: _, ...whole } = name;
    found.set(keyOf(name), found.has(keyOf(name)) ? whole : name);
  }
  return [...found.values()];
}

/** @throws UnavailableError when something named was not captured: the catalog has to refuse names that it does not know */
function viewsOf(analysis: Analysis, { relations }: Capture): View[] {
  const captured = new Map(relations.map((relation): [string, CapturedRelation] => [keyOf(relation.name), relation]));
  return distinct(analysis).map((name) => {
    const relation = captured.get(keyOf(name));
    if (relation === undefined) throw new UnavailableError(`${viewName(name)} was not captured`);
    return { schema: name.schema, name: viewName(name), columns: relation.columns, files: relation.files };
  });
}

/** The text with each `AT (..)` replaced by its view, looked at again as if somebody had sent it. */
async function unversioned(
  run: Run,
  { sql, analysis, views }: { readonly sql: string; readonly analysis: Analysis; readonly views: readonly View[] },
): Promise<string> {
  if (analysis.relations.every(({ versionAt }) => versionAt === null)) return sql;
  const told = oneStatement(withoutVersions(sql, analysis.relations));
  const known = new Set(views.map(({ schema, name }) => JSON.stringify([schema, name])));
  const { relations } = await run.analyzed(told);
  if (relations.every(({ name }) => name.at === undefined && known.has(keyOf(name)))) return told;
  throw new SqlError("syntax", "AT (..) stands where it cannot be understood");
}
