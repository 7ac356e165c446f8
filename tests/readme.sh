#!/bin/bash
# Types the commands of README.md's console blocks into a terminal, in order, and compares what comes with
# what README.md shows. Run from the build directory; srcdir is the source directory.
set -euo pipefail
readme=${srcdir:-.}/README.md
shown=http://127.0.0.1:4437
command -v script >/dev/null || { echo "script (bsdutils) is missing"; exit 77; }
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
here=$(cd "$(dirname "${DSTREAM:-./dstream}")" && pwd)
export LC_ALL=C.UTF-8 TERM=dumb SHELL=/bin/bash
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1" no_proxy="${no_proxy:+$no_proxy,}127.0.0.1"
unset DSTREAM_URL STREAM_URL STREAM_AUTH

"$here/dstream" serve --listen 127.0.0.1:0 >"$dir/url" &
server=$!
end=$((SECONDS + 20))
until [ -s "$dir/url" ]; do
  [ "$SECONDS" -lt "$end" ] || { echo "the server did not start"; exit 1; }
  sleep 0.02
done
url=$(cat "$dir/url")

# What README.md shows, and a script that types its commands. The server runs already.
awk '/^```console$/ { on = 1; next } /^```/ { on = 0 } on' "$readme" >"$dir/want"
{
  echo "cd '$dir/work'; PATH='$here':\$PATH"
  grep '^\$ ' "$dir/want" | while IFS= read -r line; do
    command=${line#\$ }
    printf "printf '%%s\\\\n' %q\n" "$line"
    if [ "$command" = "dstream serve &" ]; then echo "echo $shown"; else printf '%s\n' "${command//$shown/$url}"; fi
  done
  # When the session has ended, script(1) waits 10 ms for what the terminal still holds, and no longer.
  echo "echo the end; for i in {1..1000}; do ! grep -q 'the end' '$dir/raw' || break; sleep 0.02; done"
} >"$dir/session"
grep -q '^dstream export' "$dir/session" || { echo "README.md has no commands"; exit 1; }

mkdir "$dir/work"
script -qec "bash '$dir/session'" /dev/null </dev/null >"$dir/raw"
tr -d '\r' <"$dir/raw" | sed "s|$url|$shown|g; /^the end$/d" >"$dir/got"
diff -u --label README.md "$dir/want" --label "what comes" "$dir/got"
