# What the scripts share. Sourced by bash; sets the project's root as $root and goes there.

set -euo pipefail
export LC_ALL=C.UTF-8
export PATH="$PATH:/usr/sbin" # nginx
# What is started here talks to this machine alone, and not by way of a proxy.
export no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost"
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost"
unset DSTREAM_URL STREAM_URL STREAM_AUTH
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

build_packages="gcc libc6-dev make autoconf automake libtool pkg-config libcurl4-openssl-dev libb64-dev
  libcjson-dev libxxhash-dev libmicrohttpd-dev zlib1g-dev
  libzstd-dev libsqlite3-dev"

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
cores() { nproc 2>/dev/null || echo 2; }

# need PACKAGE[:COMMAND]... installs what is missing of these Debian packages. One with a command is
# there when the command is, whoever installed it. When nothing is missing, no network is needed.
need() {
  local p missing=()
  for p in "$@"; do
    case $p in
      *:*) command -v "${p#*:}" >/dev/null || missing+=("${p%:*}") ;;
      *) dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -q '^installed$' ||
        missing+=("$p") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "install these, by their names in Debian, and run this again: ${missing[*]}"
  say "installing ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "run this as root once, or install: ${missing[*]}"
    sudo=(sudo)
  fi
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y
    -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
  "${apt[@]}" update >/dev/null || die "apt-get update failed"
  # What is installed is not to be started as a service as well.
  local policy=/usr/sbin/policy-rc.d rc=0
  [ -e $policy ] && policy= ||
    "${sudo[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
  "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1 || rc=$?
  [ -z "$policy" ] || "${sudo[@]}" rm -f $policy
  [ $rc = 0 ] || { cat "$log" >&2; die "apt-get install failed"; }
}

# configured DIR [configure's options]... makes DIR a configured build directory, once.
configured() {
  local dir=$1
  shift
  [ -x configure ] && [ configure -nt configure.ac ] || quiet ./autogen.sh
  mkdir -p "$dir"
  [ "$dir/config.status" -nt configure ] || (cd "$dir" && quiet "$root/configure" "$@")
}

# quiet COMMAND... runs it and shows what it printed only when it fails.
quiet() { "$@" >"$log" 2>&1 || { local rc=$?; cat "$log" >&2; return "$rc"; }; }

# failures LOG names what failed in a Criterion program's log: the tests, then what they asserted, then
# those that had begun and did not end.
failures() {
  {
    grep -a '^\[FAIL\]' "$1" | head -n 15 || true
    grep -aE '^\[----\] ([^ ]+:[0-9]+: |  +[^ ])' "$1" | head -n 20 || true
    awk '$1 == "[RUN" { begun[$3] = 1; next }
      /^\[(PASS|FAIL|SKIP)\]/ { sub(/:$/, "", $2); delete begun[$2] }
      END { for (t in begun) print "did not end: " t }' "$1" | head -n 5 || true
  } | cut -c 1-400
}

# criterion NAME PROGRAM... runs a Criterion program, for $limit (900) seconds at most, keeps its log, puts
# its closing line and what failed into the summary, in $out, and shows the rest only where it failed. What
# the tests write is in $scratch ($out).
criterion() {
  local name=$1 rc=0 tmp=${scratch:-$out}/tmp
  shift
  rm -rf "$tmp"
  mkdir "$tmp"
  TMPDIR=$tmp timeout -k 10 "${limit:-900}" "$@" --verbose >"$out/$name.log" 2>&1 || rc=$?
  local line
  line=$(grep -a 'Synthesis: Tested:' "$out/$name.log" | tail -n 1) || line="no closing line (status $rc)"
  printf '%s\n' "$line"
  printf '%s: %s\n' "$name" "$line" >>"$out/summary"
  # A program that ran no test has shown nothing.
  if [ "$rc" = 0 ] && ! printf '%s' "$line" | grep -qa 'Tested: .*[1-9]'; then rc=1; fi
  [ "$rc" != 0 ] || return 0
  failures "$out/$name.log" | sed 's/^/  /' >>"$out/summary"
  grep -av '^\[ *\(RUN\|PASS\)' "$out/$name.log" | tail -n 200
  return 1
}

# built DIR CONFIGURE-OPTION... builds everything there, tests included, and runs none. $test_cflags is how
# to compile the tests themselves: to optimize them takes longer than it saves where they run but once.
built() {
  local dir=$1
  shift
  configured "$dir" --enable-werror "$@"
  quiet make -C "$dir" -j"$(cores)" all
  quiet make -C "$dir" -j"$(cores)" check TESTS= ${test_cflags:+"CFLAGS=$test_cflags"}
}

# room_in_memory: whether gigabytes of files may be put into /dev/shm.
room_in_memory() {
  local disk free
  disk=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1) || disk=0
  free=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
  [ -w /dev/shm ] && [ "${disk:-0}" -gt 3000000 ] && [ "${free:-0}" -gt 5000000 ]
}

# A thousand streams followed by one thread, and what that takes.
tails() {
  build/gcc/bench/tails -c "$@" build/gcc/dstream >"$out/tails.log" 2>&1 || { cat "$out/tails.log"; return 1; }
  sed 's/^/tails: /' "$out/tails.log" | tee -a "$out/summary"
}

# packages DIR FROM FILE... makes DIR a folder with FROM's files and the packages its lock file pins.
packages() {
  local dir=$1 from=$2
  shift 2
  if [ ! "$dir/done" -nt "$from/package-lock.json" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$from/package.json" "$from/package-lock.json" "$dir"
    (cd "$dir" && quiet npm ci --ignore-scripts --no-audit --no-fund)
    touch "$dir/done"
  fi
  [ $# = 0 ] || (cd "$from" && cp "$@" "$dir")
}

# The reference server, as the lock file pins it, in build/reference.
reference() {
  DSTREAM_E2E_REFERENCE=$root/build/reference
  packages "$DSTREAM_E2E_REFERENCE" tests/e2e
}

# The official client, likewise, in build/client.
client() {
  DSTREAM_E2E_CLIENT=$root/build/client
  packages "$DSTREAM_E2E_CLIENT" tests/e2e/client
}

# One that has ended stays, as a zombie, until the shell waits for it.
has_ended() { [[ ! -e /proc/$1 || $(cat "/proc/$1/stat" 2>/dev/null) =~ \)\ [ZX] ]]; }

# wait_until SECONDS COMMAND... waits for the command to succeed.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.02
  done
}

# A number that no run has begun with.
fresh_seed() { od -An -N8 -tu8 /dev/urandom | tr -d ' '; }

# lives DIR NUMBER SEED: so many simulated lives of a reader, and of a producer, from this seed on.
lives() {
  local who
  for who in reader producer; do
    "$1/tests/sim/sim_$who" -n "$2" -s "$3" >"$out/sim.log" 2>&1 || { tail -n 40 "$out/sim.log"; return 1; }
    printf 'simulated lives of a %s from seed %s: %s\n' "$who" "$3" "$(tail -n 1 "$out/sim.log")" |
      tee -a "$out/summary"
  done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
