/**
 * What a test of a definition needs; docs/testing.md teaches it.
 *
 * @module
 */
export { type TestOptions, TestPipeline, testPipeline } from "./test_pipeline.ts";
export type { PipeOptions, TestRecord } from "./test_records.ts";
export type { TestLetter } from "./test_letters.ts";
export type { TestRow } from "./test_rows.ts";
