// Reads a stream by the official client, and writes what it has to standard output: bytes as they are,
// JSON a message a line. Ends with the stream.
//   read.mjs NODE_MODULES_PARENT URL MODE       MODE: catch-up, long-poll, sse, auto
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import { resolve } from "node:path"

const [parent, url, mode] = process.argv.slice(2)
const require = createRequire(resolve(parent, "package.json"))
const entry = pathToFileURL(require.resolve("@durable-streams/client"))
const { stream } = await import(entry.href)

function write(data) {
  if (process.stdout.write(data)) return
  return new Promise((done) => process.stdout.once("drain", done))
}
async function drain(res) {
  if (/^application\/json\b/.test(res.contentType ?? "")) {
    for await (const item of res.jsonStream()) await write(JSON.stringify(item) + "\n")
  } else {
    for await (const chunk of res.bodyStream()) await write(chunk)
  }
}

// With live: false it stops after the first answer, whatever is left.
async function catchUp() {
  let offset = "-1"
  for (;;) {
    const res = await stream({ url, offset, live: false })
    await drain(res)
    if (res.upToDate && res.offset === offset) return
    offset = res.offset
  }
}

if (mode === "catch-up") await catchUp()
else await drain(await stream({ url, offset: "-1", live: mode === "auto" ? true : mode }))
