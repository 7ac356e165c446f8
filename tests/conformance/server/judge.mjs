// Holds what vitest reported against the list of excluded tests:  judge.mjs REPORT.json EXCLUDED
// Ends with 0 if every test passed that is not excluded, no excluded one did, and each excluded one
// exists. The last line printed says how many there were.
import { readFileSync } from "node:fs"

const [report, list] = process.argv.slice(2)

// Lines "Group > Title"; those that begin with # give the reason for what follows.
const excluded = new Set(
  readFileSync(list, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
)

const { testResults } = JSON.parse(readFileSync(report, "utf8"))
const tests = testResults
  .flatMap((file) => file.assertionResults)
  .map((t) => ({
    name: [...t.ancestorTitles, t.title].join(" > "),
    passed: t.status === "passed",
    why: (t.failureMessages[0] ?? t.status).split("\n")[0],
  }))

// A suite that was not found, or did not load, must not look like one that passed.
if (tests.length < 300) {
  for (const file of testResults) console.log(file.message)
  console.log(`only ${tests.length} tests ran`)
  process.exit(1)
}

const complaints = []
for (const t of tests) {
  if (!t.passed && !excluded.has(t.name)) complaints.push(`failed: ${t.name}: ${t.why}`)
  if (t.passed && excluded.has(t.name)) complaints.push(`passes, though excluded: ${t.name}`)
}
const names = new Set(tests.map((t) => t.name))
for (const name of excluded) {
  if (!names.has(name)) complaints.push(`excluded, but there is no such test: ${name}`)
}

const passed = tests.filter((t) => t.passed).length
for (const line of complaints) console.log(line)
console.log(
  `${tests.length} tests: ${passed} passed, ${excluded.size} excluded, ${complaints.length} complaints`
)
process.exit(complaints.length === 0 ? 0 : 1)
