#!/usr/bin/env bash
# Sends the same requests to etcd and to another cluster, three members each, and compares the answers (see go/reference).
#
#     clients/reference.sh "path/to/etcd" "target/debug/kontiki server" PROGRAM [FLAG…]
set -euo pipefail

model=$1 tested=$2
shift 2
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck disable=SC2016  # ENDPOINTS is set for the inner shells
exec "$here/with-cluster" "$model" bash -c 'MODEL=$ENDPOINTS exec "$@"' - \
    "$here/with-cluster" "$tested" bash -c '"$@" --model "$MODEL" --tested "$ENDPOINTS"' - "$@"
