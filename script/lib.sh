# What the scripts share. Sourced by bash; sets the project's root as $root and goes there.

set -euo pipefail
export LC_ALL=C.UTF-8
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

build_packages="gcc libc6-dev make autoconf automake libtool pkg-config libcurl4-openssl-dev libb64-dev
  libcjson-dev libxxhash-dev libmicrohttpd-dev zlib1g-dev"

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
  "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
    { cat "$log" >&2; die "apt-get install failed"; }
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

log=$(mktemp)
trap 'rm -f "$log"' EXIT
