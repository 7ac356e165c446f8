#!/bin/bash
# Who may include whom: cli -> client -> reader, producer, transport, store -> sse, decode -> base, and
# which folders touch the outside world. Prints each line that breaks it.
set -u
cd "${srcdir:-.}" || exit 1
status=0

# Each #include of the folder as "FILE:LINE NAME", system headers as <NAME>.
includes() {
  [ -d "$1" ] || return 0
  find "$1" -name '*.[ch]' -exec grep -Hn '^[[:space:]]*#[[:space:]]*include' {} + |
    sed -E 's/^([^:]*:[0-9]+):[^"<]*("([^"]*)"|(<[^>]*>)).*/\1 \3\4/'
}

# only FOLDER WHAT REGEX: everything that FOLDER includes and that matches WHAT has to match REGEX.
only() {
  local bad
  bad=$(includes "$1" | grep -E " $2" | grep -vE " ($3)\$")
  [ -z "$bad" ] || { printf '%s may not include:\n%s\n' "$1" "$bad"; status=1; }
}

# only_in HEADER FILES: no file but those that match FILES (regex) includes the header.
only_in() {
  local bad
  bad=$(for d in base sse decode reader producer transport store client cli devserver; do includes "$d"; done |
    grep -E " <$1>\$" | grep -vE "^($2):[0-9]+ ")
  [ -z "$bad" ] || { printf '<%s> is for %s only:\n%s\n' "$1" "$2" "$bad"; status=1; }
}

own='[^<]'
public='config\.h|dstream\.h'
only base "$own" "$public|base/.*"
only decode "$own" "$public|base/.*|decode/.*"
only sse "$own" "$public|base/.*|decode/.*|sse/.*"
only reader "$own" "$public|base/.*|decode/.*|sse/.*|reader/.*"
only producer "$own" "$public|base/.*|decode/.*|sse/.*|producer/.*"
only transport "$own" "$public|base/.*|decode/.*|sse/.*|transport/.*"
only store "$own" "$public|base/.*|decode/.*|sse/.*|store/.*"
only client "$own" "$public|(base|decode|sse|reader|producer|transport|store|client)/.*"
only devserver "$own" "$public|base/.*|decode/.*|sse/.*|devserver/.*"

# Protocol logic does no I/O and asks no clock: nothing but memory and arithmetic.
pure='<(stdbool|stddef|stdint|stdarg|string|strings|limits|stdlib|errno|inttypes)\.h>'
only sse '<' "$pure|<cjson/cJSON\.h>"
only decode '<' "$pure|<b64/c(en|de)code\.h>"
only reader '<' "$pure"
only producer '<' "$pure"

only_in 'curl/.*' 'transport/[^:]*'
only_in 'microhttpd\.h' 'devserver/[^:]*'
only_in 'cjson/.*' '(sse/control|store/checkpoint)\.c'
only_in 'b64/.*' 'decode/base64\.c'
only_in 'z(lib|std)\.h' '(base/hash|store/pack|transport/gunzip)\.c'
only_in 'sqlite3\.h' 'store/sqlite\.c'
only_in 'xxhash\.h' 'base/hash\.c'

# The check has to see the tree at all.
[ "$(includes base | wc -l)" -gt 10 ] || { echo "no sources found in $PWD"; status=1; }
exit $status
