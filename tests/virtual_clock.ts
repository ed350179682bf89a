export { VirtualClock } from "../pipeline/testing/virtual_clock.ts";
