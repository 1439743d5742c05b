#!/usr/bin/env bash
# Drives a cluster with the real etcdctl, each of its commands, and checks what it prints. Needs ENDPOINTS, and ETCDCTL (the
# program) if it is not on the path. For etcdctl 3.5 and 3.7; run by .ci/run through clients/with-cluster.
#
#     clients/with-cluster "target/debug/kontiki server" clients/etcdctl.sh [PART…]
#
# Without a PART all of clients/etcdctl/*.sh run. The same against a real etcd shows that the expectations are right.
set -euo pipefail

: "${ENDPOINTS:?}"
program=${ETCDCTL:-etcdctl}
work=$(mktemp -d)
watcher=
finish() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

ctl() { ETCDCTL_API=3 "$program" --endpoints "$ENDPOINTS" "$@"; }
first() { ETCDCTL_API=3 "$program" --endpoints "${ENDPOINTS%%,*}" "$@"; }

# expect WHAT EXPECTED ACTUAL
expect() {
    [ "$2" = "$3" ] && return
    printf 'etcdctl %s\n  expected: %q\n  got:      %q\n' "$1" "$2" "$3" >&2
    exit 1
}

# matches WHAT PATTERN ACTUAL
matches() {
    grep -qE -- "$2" <<<"$3" && return
    printf 'etcdctl %s\n  expected a line like: %s\n  got: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

minor=$("$program" version | sed -n 's/^etcdctl version: 3\.\([0-9]*\)\..*/\1/p')

# fails WHAT PATTERN COMMAND…: the command must fail and say so.
fails() {
    local what=$1 pattern=$2 said
    shift 2
    if said=$("$@" 2>&1 </dev/null); then
        printf 'etcdctl %s\n  expected to fail, but: %s\n' "$what" "$said" >&2
        exit 1
    fi
    matches "$what" "$pattern" "$said"
}

# soon SECONDS COMMAND…: tries until it succeeds.
soon() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

here=$(dirname "${BASH_SOURCE[0]}")/etcdctl
parts=("$@")
[ $# -gt 0 ] || mapfile -t parts < <(basename -a -s .sh "$here"/*.sh)
for part in "${parts[@]}"; do
    began=$SECONDS
    # shellcheck disable=SC1090  # the parts are checked by themselves
    source "$here/$part.sh"
    echo "etcdctl 3.$minor, $part: as expected, $((SECONDS - began)) s"
done
