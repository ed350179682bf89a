import type { ResolvedOptions } from "../options.ts";
import { Group } from "./group.ts";
import { OffsetStore } from "./offset_store.ts";

/** How often sessions and rebalances are looked at, while there are members. */
const tickMs = 50;

/** All consumer groups. Members are in memory only: after a restart they join again. Offsets are on disk. */
export class Groups {
  readonly offsets: OffsetStore;
  readonly #options: ResolvedOptions;
  readonly #groups = new Map<string, Group>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.offsets = new OffsetStore(options);
  }

  get(id: string): Group | null {
    return this.#groups.get(id) ?? null;
  }

  /** The group, made when it is new; null when there are too many. */
  open(id: string): Group | null {
    const known = this.#groups.get(id);
    if (known === undefined && this.#groups.size >= this.#options.groupsMax) return null;
    const { groupMembersMax, groupInitialDelayMs } = this.#options;
    const group = known ?? new Group(id, { membersMax: groupMembersMax, initialDelayMs: groupInitialDelayMs });
    this.#groups.set(id, group);
    this.#timer ??= setInterval(() => this.#tick(), tickMs);
    return group;
  }

  /** Ids of all groups that have members or committed offsets. */
  ids(): string[] {
    return [...new Set([...this.#groups.keys(), ...this.offsets.groups()])];
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const group of this.#groups.values()) group.stop();
    await this.offsets.close();
  }

  #tick(): void {
    const nowMs = this.#options.clock.now();
    for (const [id, group] of this.#groups) {
      group.tick(nowMs);
      // Without members a group is its offsets, and those are not kept here.
      if (!group.isActive) this.#groups.delete(id);
    }
    if (this.#groups.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
