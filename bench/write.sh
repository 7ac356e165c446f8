#!/bin/bash
# Appends the same bytes by a producer and, in posts of 1 MiB, by curl, to the same server (dstream serve),
# one after the other, and prints how they compare. Judges nothing.
#
#   bench/write.sh [MIB [ROUNDS]]      in the build directory, after `make bench`
#
# The best of the rounds counts: everything else on the machine only adds. "cpu" is user and system time of
# writer and server together. "messages" are those taken in and acknowledged.
#   direct        the library, then the command (write --producer --split newline) of lines from a file
#   proxy         through a proxy in the same process as the writer, without faults and where 1 % of the
#                 answers are lost
set -eu
mib=${1:-256} rounds=${2:-3}
dstream=${DSTREAM:-./dstream}
scratch=$(mktemp -d)
"$dstream" serve --listen 127.0.0.1:0 >"$scratch/url" 2>/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null || :; rm -rf "$scratch"' EXIT
until [ -s "$scratch/url" ]; do sleep 0.02; done
base=$(head -n 1 "$scratch/url")/v1/stream
hz=$(getconf CLK_TCK)
TIMEFORMAT='%R %U %S'
for ((i = 0; i < mib; i++)); do posts+=("$base/s"); done
{ head -c $((1048576 - 2)) /dev/zero | tr '\0' x | sed 's/.*/"&"/' | tr -d '\n'; } >"$scratch/mib"
yes "$(printf '%99s' | tr ' ' x)" | head -c $((mib << 20)) >"$scratch/lines"

ticks() { sed 's/.*) //' "/proc/$server/stat" | awk '{ print $12 + $13 }'; }

# best NAME TYPE COMMAND... appends all to a new stream, and adds seconds, and the processor's, to NAME.
best() {
  local name=$1 before
  curl -sS -f -X PUT -H "Content-Type: $2" "$base/s"
  shift 2
  before=$(ticks)
  { time "$@" >"$scratch/out" 2>"$scratch/err"; } 2>"$scratch/time" || { cat "$scratch/err"; exit 1; }
  awk -v s="$((($(ticks) - before)))" -v hz="$hz" '{ print $1, $2 + $3 + s / hz }' "$scratch/time" >>"$scratch/$name"
  curl -sS -f -X DELETE "$base/s"
}

least() { sort -n -k "$2" "$scratch/$1" | awk -v f="$2" 'NR == 1 { print $f }'; }

# compare WHAT TYPE BYTES COMMAND...: messages of so many bytes, by the command and by curl.
compare() {
  local what=$1 type=$2 bytes=$3 round
  shift 3
  rm -f "$scratch/dstream" "$scratch/curl"
  for ((round = 0; round < rounds; round++)); do
    best curl "$type" curl -sS -f -H "Content-Type: $type" --data-binary "@$scratch/mib" "${posts[@]}"
    best dstream "$type" "$@"
  done
  awk -v what="$what" -v mib="$mib" -v bytes="$bytes" -v dt="$(least dstream 1)" -v dc="$(least dstream 2)" \
    -v ct="$(least curl 1)" -v cc="$(least curl 2)" 'BEGIN {
    printf "%-20s dstream %9.0f messages/s %5.0f MiB/s %5.2f s cpu   curl %5.0f MiB/s %5.2f s cpu   time x%.2f  cpu x%.2f\n",
      what, mib * 1048576 / bytes / dt, mib / dt, dc, mib / ct, cc, dt / ct, dc / cc }'
}

bytes=application/octet-stream json=application/json text=text/plain
small=$((mib * 1048576 / 100))
compare '100 B' $bytes 100 bench/append "$base/s" $bytes 100 "$small"
compare '100 B, JSON' $json 100 bench/append "$base/s" $json 100 "$small"
compare '1 MiB' $bytes 1048576 bench/append "$base/s" $bytes 1048576 "$mib"
compare '100 B lines, command' $text 100 "$dstream" write -q --producer p --split newline --type $text "$base/s" "$scratch/lines"
for lost in 0 10; do
  compare "100 B, $((lost / 10)) % lost" $bytes 100 bench/append "$base/s" $bytes 100 "$small" $lost
  compare "1 MiB, $((lost / 10)) % lost" $bytes 1048576 bench/append "$base/s" $bytes 1048576 "$mib" $lost
done
