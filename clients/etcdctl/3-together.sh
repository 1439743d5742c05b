# lock and elect: held until the program ends, or while a command runs.
# shellcheck shell=bash

expect "lock with a command" held "$(ctl lock hands/lock echo held)"
# shellcheck disable=SC2016  # the variables are etcdctl's
matches "lock's environment" '^hands/lock/[0-9a-f]+ [0-9]+$' "$(ctl lock hands/lock -- sh -c 'echo $ETCD_LOCK_KEY $ETCD_LOCK_REV')"
status=0
ctl lock hands/lock -- sh -c 'exit 7' >/dev/null 2>&1 || status=$?
expect "lock: the command's status" 7 "$status"

ETCDCTL_API=3 "$program" --endpoints "$ENDPOINTS" lock hands/lock --ttl 5 >"$work/first" &
holder=$!
watcher=$holder
soon 10 grep -q hands/lock "$work/first" || { echo "etcdctl lock: nothing is held" >&2; exit 1; }
expect "the lock's key" "$(cat "$work/first")" "$(ctl get hands/lock --prefix --keys-only | sed '/^$/d')"
fails "a lock that another holds" '.*' timeout 1 "$program" --endpoints "$ENDPOINTS" lock hands/lock
kill -INT "$holder"
wait "$holder" || true
watcher=
expect "the lock after its holder" free "$(ctl lock hands/lock echo free)"

ETCDCTL_API=3 "$program" --endpoints "$ENDPOINTS" elect hands/office first >"$work/elected" &
leader=$!
watcher=$leader
soon 10 grep -q first "$work/elected" || { echo "etcdctl elect: nobody is elected" >&2; exit 1; }
matches "elect" '^hands/office/[0-9a-f]+$' "$(head -n 1 "$work/elected")"
expect "elect -l" first "$({ timeout 2 "$program" --endpoints "$ENDPOINTS" elect -l hands/office || true; } | sed -n 2p)"
kill -INT "$leader"
wait "$leader" || true
watcher=
expect "the office after its holder" "" "$(ctl get hands/office --prefix)"
