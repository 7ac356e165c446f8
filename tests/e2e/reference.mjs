// Starts the reference server on a free port of 127.0.0.1 and prints its URL. Ends when its standard
// input does, so that it cannot outlive the test that started it.
//   reference.mjs NODE_MODULES_PARENT [LONG_POLL_MS]
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import { resolve } from "node:path"

const require = createRequire(resolve(process.argv[2], "package.json"))
const entry = pathToFileURL(require.resolve("@durable-streams/server"))
const { DurableStreamTestServer } = await import(entry.href)

const server = new DurableStreamTestServer({
  host: "127.0.0.1",
  port: 0,
  longPollTimeout: Number(process.argv[3] ?? 500),
})
console.log(await server.start())

process.stdin.on("end", () => process.exit(0))
process.stdin.resume()
