#!/bin/bash
# Reads the same bytes with dstream and with curl, from the same server, one after the other, and prints
# how they compare. Judges nothing.
#
#   bench/run.sh [MIB [ROUNDS]]      in the build directory, after `make bench`
#
# The best of the rounds counts: everything else on the machine only adds. "cpu" is user and system time.
# On the wire dstream has to look at each byte, which curl does not: /bytes compares copying, /json cutting
# of messages, /sse-* framing, base64 and cutting.
set -eu
mib=${1:-256} rounds=${2:-3}
dstream=${DSTREAM:-./dstream}
scratch=$(mktemp -d)
mkfifo "$scratch/hold" "$scratch/port"
exec 3<>"$scratch/hold"
bench/source "$mib" <"$scratch/hold" >"$scratch/port" 3>&- &
server=$!
trap 'kill "$server" 2>/dev/null || :; rm -rf "$scratch"' EXIT
read -r port <"$scratch/port"
base=http://127.0.0.1:$port
pages=$((mib / 16))

# best NAME COMMAND... runs it once and keeps its times in $scratch/NAME where they are the best so far.
TIMEFORMAT='%R %U %S'
best() {
  local name=$1
  shift
  { time "$@" >/dev/null 2>"$scratch/err"; } 2>"$scratch/time" || { cat "$scratch/err"; exit 1; }
  awk '{ print $1, $2 + $3 }' "$scratch/time" >>"$scratch/$name"
}

least() { sort -n -k "$2" "$scratch/$1" | awk -v f="$2" 'NR == 1 { print $f }'; }

# compare WHAT, after both have run.
compare() {
  awk -v what="$1" -v mib="$mib" -v dt="$(least dstream 1)" -v dc="$(least dstream 2)" \
    -v ct="$(least curl 1)" -v cc="$(least curl 2)" 'BEGIN {
    if (ct <= 0) ct = 0.001; if (cc <= 0) cc = 0.001; if (dt <= 0) dt = 0.001
    printf "%-10s dstream %6.0f MiB/s %6.2f s cpu   curl %6.0f MiB/s %6.2f s cpu   time x%.2f  cpu x%.2f\n",
      what, mib / dt, dc, mib / ct, cc, dt / ct, dc / cc }'
}

for what in bytes json; do
  rm -f "$scratch/dstream" "$scratch/curl"
  urls=()
  for ((i = 0; i < pages; i++)); do urls+=("$base/$what?offset=$i"); done
  for ((round = 0; round < rounds; round++)); do
    best curl curl -sS -f "${urls[@]}"
    best dstream "$dstream" read -q "$base/$what"
  done
  compare "$what"
done
for what in sse-json sse-bytes; do
  rm -f "$scratch/dstream" "$scratch/curl"
  for ((round = 0; round < rounds; round++)); do
    best curl curl -sS -f -N "$base/$what?live=sse"
    best dstream "$dstream" tail -q --from beginning --live sse "$base/$what"
  done
  compare "$what"
done
