# What an operator does: endpoints, alarms, defragmentation, leadership, snapshots, a mirror.
# shellcheck shell=bash

expect "endpoint health --cluster" 3 "$(first endpoint health --cluster 2>&1 | grep -c 'is healthy')"
expect "endpoint status --cluster" 3 "$(first endpoint status --cluster | wc -l)"
expect "endpoint hashkv --cluster" 3 "$(first endpoint hashkv --cluster | wc -l)"
revision=$(ctl put keep/a 1 -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)["header"]["revision"])')
same_hash() { [ "$(ctl endpoint hashkv --rev "$revision" -w json | python3 -c 'import json, sys; print(len({row["HashKV"]["hash"] for row in json.load(sys.stdin)}))')" -eq 1 ]; }
soon 10 same_hash || { echo "etcdctl endpoint hashkv: the members disagree" >&2; exit 1; }
status=0
"$program" --endpoints 127.0.0.1:1 --command-timeout 1s --dial-timeout 1s endpoint health >/dev/null 2>&1 || status=$?
expect "endpoint health of nobody: the status" 1 "$status"

expect "alarm list" "" "$(ctl alarm list)"
expect "alarm disarm" "" "$(ctl alarm disarm)"
expect "defrag" 3 "$(ctl defrag | grep -c '^Finished defragmenting etcd member\[')"
expect "defrag --cluster" 3 "$(first defrag --cluster | grep -c '^Finished defragmenting etcd member\[')"

leads() { ctl endpoint status -w json | python3 -c '
import json, sys
for row in json.load(sys.stdin):
    if (row["Status"]["leader"] == row["Status"]["header"]["member_id"]) == (sys.argv[1] == "leader"):
        print(row["Endpoint"], format(row["Status"]["header"]["member_id"], "x"))
        break
' "$1"; }
# Tried again if the leadership moved by itself in between.
moved() {
    read -r leader_url leader_id <<<"$(leads leader)"
    read -r other_url other_id <<<"$(leads other)"
    [ "$(ctl move-leader "$other_id" 2>&1 | tail -n 1)" = "Leadership transferred from $leader_id to $other_id" ]
}
soon 10 moved || { echo "etcdctl move-leader: $(ctl move-leader "$other_id" 2>&1)" >&2; exit 1; }
fails "move-leader asked of one that does not lead" 'no leader endpoint given at' \
    "$program" --endpoints "$leader_url" move-leader "$other_id"
fails "move-leader to nobody" 'etcdserver: bad leader transferee' "$program" --endpoints "$other_url" move-leader 5
fails "move-leader to nonsense" '.' ctl move-leader nonsense

ctl put mirror/a 1 >/dev/null
destination=${ENDPOINTS##*,}
ETCDCTL_API=3 "$program" --endpoints "${ENDPOINTS%%,*}" make-mirror "$destination" --prefix mirror/ --dest-prefix copy/ >"$work/mirror" 2>&1 &
watcher=$!
copied() { [ "$(ctl get copy/ --prefix)" = "$1" ]; }
soon 10 copied $'copy/a\n1' || { cat "$work/mirror" >&2; exit 1; }
ctl put mirror/b 2 >/dev/null
ctl del mirror/a >/dev/null
soon 10 copied $'copy/b\n2' || { cat "$work/mirror" >&2; exit 1; }
kill "$watcher" && wait "$watcher" 2>/dev/null || true
watcher=

if ((minor >= 7)); then
    fails "downgrade to nonsense" 'wrong downgrade target version format' ctl downgrade validate nonsense
    fails "downgrade by two" 'invalid downgrade target version' ctl downgrade validate 2.0
    matches "downgrade cancel" '^Downgrade cancel success, cluster version 3\.[0-9]+' "$(ctl downgrade cancel)"
fi
matches "version" "^etcdctl version: 3\\.$minor\\." "$("$program" version)"
((minor < 7)) || matches "completion" 'etcdctl' "$("$program" completion bash | head -n 5)"
matches "help" 'move-leader' "$("$program" help)"
if ((minor >= 7)); then matches "get --stream" '^keep/a$' "$(ctl get keep/ --prefix --stream 2>&1)"; fi
