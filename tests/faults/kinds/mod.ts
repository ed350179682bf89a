import type { Kind } from "../kind.ts";
import { bombs } from "./bombs.ts";
import { brokerCut } from "./broker_cut.ts";
import { brokerKill } from "./broker_kill.ts";
import { cdc } from "./cdc.ts";
import { connectors } from "./connectors.ts";
import { deliveries } from "./deliveries.ts";
import { diskFull } from "./disk_full.ts";
import { forward } from "./forward.ts";
import { frozenOwner } from "./frozen_owner.ts";
import { fsyncError } from "./fsync_error.ts";
import { ingest } from "./ingest.ts";
import { jsonFiles } from "./json_files.ts";
import { kill9 } from "./kill9.ts";
import { killInRecovery } from "./kill_in_recovery.ts";
import { killPoints, lakeKillPoints } from "./kill_points.ts";
import { lakeDiskFull } from "./lake_disk_full.ts";
import { lakeS3 } from "./lake_s3.ts";
import { poison } from "./poison.ts";
import { postgresCut } from "./postgres_cut.ts";
import { postgresDown } from "./postgres_down.ts";
import { postgresKill } from "./postgres_kill.ts";
import { registry } from "./registry.ts";
import { secondMember } from "./second_member.ts";
import { stop } from "./stop.ts";
import { tornSegments } from "./torn_segments.ts";

/** All kinds of faults, in the order they are run. */
export const KINDS: readonly Kind[] = [
  kill9,
  stop,
  killInRecovery,
  killPoints,
  lakeKillPoints,
  brokerKill,
  brokerCut,
  postgresKill,
  postgresCut,
  postgresDown,
  registry,
  frozenOwner,
  secondMember,
  deliveries,
  forward,
  poison,
  bombs,
  diskFull,
  lakeDiskFull,
  lakeS3,
  fsyncError,
  tornSegments,
  jsonFiles,
  cdc,
  ingest,
  connectors,
];
