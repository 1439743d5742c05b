# The flags of get, put, del, watch, txn and compaction, and the forms that answers are written in.
# shellcheck shell=bash

ctl del flag/ --prefix >/dev/null
for n in 1 2 3 4 5; do ctl put "flag/$n" "$((6 - n))" >/dev/null; done
expect "get --from-key" $'flag/4\n2\nflag/5\n1' "$(ctl get flag/4 --from-key --limit 2)"
expect "get KEY END" $'flag/2\n4\nflag/3\n3' "$(ctl get flag/2 flag/4)"
expect "get --limit" $'flag/1\n5' "$(ctl get flag/ --prefix --limit 1)"
expect "get --sort-by VALUE" $'flag/5\nflag/4\nflag/3\nflag/2\nflag/1' "$(ctl get flag/ --prefix --sort-by VALUE | grep flag)"
# Without --order a limit cuts by key, before the sort: one more than asked for is read, sorted, and the rest is dropped.
expect "get --sort-by VALUE --limit" $'flag/3\nflag/2' "$(ctl get flag/ --prefix --sort-by VALUE --limit 2 | grep flag)"
expect "get --sort-by MODIFY" $'flag/5' "$(ctl get flag/ --prefix --sort-by MODIFY --order DESCEND --limit 1 --keys-only | sed '/^$/d')"
expect "get --hex" $'\\x66\\x6c\\x61\\x67\\x2f\\x31\n\\x35' "$(ctl get flag/1 --hex)"
created=$(ctl get flag/3 -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)["kvs"][0]["create_revision"])')
expect "get --rev" "" "$(ctl get flag/3 --rev "$((created - 1))")"
if ((minor >= 7)); then
    expect "get --min-mod-rev" $'flag/4\nflag/5' "$(ctl get flag/ --prefix --min-mod-rev "$((created + 1))" --keys-only | sed '/^$/d')"
    expect "get --max-create-rev" $'flag/1\nflag/2' "$(ctl get flag/ --prefix --max-create-rev "$((created - 1))" --keys-only | sed '/^$/d')"
fi
expect "put --ignore-value" OK "$(ctl put flag/1 --ignore-value)"
expect "put --ignore-lease" OK "$(ctl put flag/1 5 --ignore-lease)"
expect "put from standard input" OK "$(printf 'piped' | ctl put flag/piped)"
expect "what was piped" piped "$(ctl get flag/piped --print-value-only)"
fails "put --ignore-value of nothing" 'etcdserver: key not found' ctl put flag/none --ignore-value
fails "put with a lease that is none" 'etcdserver: requested lease not found' ctl put flag/1 x --lease 1234
fails "put of too much" 'request is too large' bash -c 'head -c 1600000 /dev/zero | tr "\0" x | "$0" --endpoints "$1" put flag/large' "$program" "$ENDPOINTS"
expect "del --prev-kv" $'1\nflag/piped\npiped' "$(ctl del flag/piped --prev-kv)"
expect "del --prefix" 5 "$(ctl del flag/ --prefix)"
fails "get without a key" 'get command needs one argument' ctl get
fails "an empty key" 'etcdserver: key is not provided' ctl put "" x
fails "an unknown flag" 'unknown flag: --nonsense' ctl get x --nonsense
fails "endpoints where nobody is" 'context deadline exceeded' "$program" --endpoints 127.0.0.1:1 --command-timeout 1s --dial-timeout 1s get x

ctl put flag/form value >/dev/null
python3 - "$(ctl get flag/form -w json)" <<'PYTHON'
import base64, json, sys
answer = json.loads(sys.argv[1])
assert answer["count"] == 1 and base64.b64decode(answer["kvs"][0]["value"]) == b"value", answer
assert {"cluster_id", "member_id", "revision", "raft_term"} <= set(answer["header"]), answer
PYTHON
matches "get -w fields" '^"Key" : "flag/form"$' "$(ctl get flag/form -w fields)"
matches "get -w fields" '^"Value" : "value"$' "$(ctl get flag/form -w fields)"
expect "get -w protobuf" 1 "$(ctl get flag/form -w protobuf | grep -c -a 'flag/form')"
matches "member list -w table" '^. +ID +. STATUS +. +NAME' "$(ctl member list -w table | sed -n 2p)"
matches "endpoint status -w table" 'ENDPOINT' "$(ctl endpoint status -w table)"
ETCDCTL_ENDPOINTS=$ENDPOINTS matches "endpoints from the environment" '^value$' \
    "$(ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$ENDPOINTS "$program" get flag/form --print-value-only)"

# watch: a command for each event, filters of what is told, a past revision, interactively.
revision=$(ctl put flag/w 1 -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)["header"]["revision"])')
ctl put flag/w 2 >/dev/null
watched() { # watched LINES ARGUMENT…
    local lines=$1 pid
    shift
    : >"$work/watched"
    ETCDCTL_API=3 "$program" --endpoints "$ENDPOINTS" watch "$@" >"$work/watched" 2>"$work/errors" &
    pid=$!
    for _ in $(seq 100); do
        [ "$(wc -l <"$work/watched")" -ge "$lines" ] && break
        sleep 0.1
    done
    kill "$pid" && wait "$pid" 2>/dev/null || true
    head -n "$lines" "$work/watched"
}
expect "watch --rev" $'PUT\nflag/w\n1\nPUT\nflag/w\n2' "$(watched 6 flag/w --rev "$revision" | sed '/^$/d')"
expect "watch --prev-kv" $'PUT\nflag/w\n1\nflag/w\n2' "$(watched 5 flag/w --rev "$((revision + 1))" --prev-kv | sed '/^$/d')"
matches "watch with a command" '^"?flag/w"? PUT$' "$(watched 4 flag/w --rev "$((revision + 1))" -- sh -c 'echo $ETCD_WATCH_KEY $ETCD_WATCH_EVENT_TYPE' | tr -d '"')"
matches "watch -w json" '"Events":\[\{' "$(watched 1 flag/w --rev "$revision" -w json)"
expect "watch -i" $'PUT\nflag/w\n1' "$({ echo "watch flag/w --rev $revision"; sleep 1; } | ETCDCTL_API=3 timeout 5 "$program" --endpoints "$ENDPOINTS" watch -i 2>/dev/null | head -n 3)"

expect "txn, nothing to compare" $'SUCCESS\n\nOK' "$(printf '\nput flag/t 1\n\n\n' | ctl txn)"
for comparison in 'mod("flag/t") > "1"' 'create("flag/t") != "0"' 'ver("flag/t") = "1"' 'val("flag/t") = "1"' 'value("flag/t") < "2"'; do
    expect "txn: $comparison" SUCCESS "$(printf '%s\n\n\n\n' "$comparison" | ctl txn | head -n 1)"
done
fails "txn that compares nothing known" 'malformed comparison' bash -c 'echo "nonsense" | "$0" --endpoints "$1" txn' "$program" "$ENDPOINTS"
revision=$(ctl put flag/c 1 -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)["header"]["revision"])')
expect "compaction --physical" "compacted revision $revision" "$(ctl compaction "$revision" --physical)"
fails "compaction once more" 'required revision has been compacted' ctl compaction "$revision"
fails "compaction of the future" 'required revision is a future revision' ctl compaction 99999999
fails "compaction of no number" 'invalid syntax' ctl compaction nonsense
fails "watch of what is compacted" 'required revision has been compacted' timeout 10 "$program" --endpoints "$ENDPOINTS" watch flag/c --rev 1
