/** Takes bulk requests as a process of its own, to be killed: `serve_child.ts BROKER REGISTRY`; prints its port. */
import { createApp } from "../../api/app.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { openBulk } from "./world.ts";

const [broker, registryUrl] = Deno.args;
const { bulk } = openBulk([broker], registryUrl);
const app = createApp(fakeDeps({ bulk }).deps);
bulk.recover(new AbortController().signal).catch((error) => console.error(error));
const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
console.log(server.addr.port);
