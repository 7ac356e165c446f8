// The official server suite against the server at DSTREAM_CONFORMANCE_URL, which holds a long-poll
// for DSTREAM_CONFORMANCE_POLL milliseconds.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

const baseUrl = process.env.DSTREAM_CONFORMANCE_URL
if (!baseUrl) throw new Error("DSTREAM_CONFORMANCE_URL names no server")
runConformanceTests({
  baseUrl,
  longPollTimeoutMs: Number(process.env.DSTREAM_CONFORMANCE_POLL ?? 20000),
})
