# The commands that everybody uses.
# shellcheck shell=bash

expect "put" OK "$(ctl put boat/name Fram)"
expect "get" $'boat/name\nFram' "$(ctl get boat/name)"
expect "put --prev-kv" $'OK\nboat/name\nFram' "$(ctl put boat/name Gjoa --prev-kv)"
ctl put boat/year 1872 >/dev/null
expect "get --prefix" $'boat/name\nGjoa\nboat/year\n1872' "$(ctl get boat/ --prefix)"
expect "get --keys-only" $'boat/name\n\nboat/year' "$(ctl get boat/ --prefix --keys-only)"
expect "get --sort-by" $'1872\nGjoa' "$(ctl get boat/ --prefix --order=DESCEND --sort-by=KEY --print-value-only)"
expect "get --consistency=s" $'boat/year\n1872' "$(first get boat/year --consistency=s)"
matches "get --count-only" '"Count" : 2' "$(ctl get boat/ --prefix --count-only -w fields)"
expect "del" 1 "$(ctl del boat/year)"
expect "del of nothing" 0 "$(ctl del boat/year)"

success=$'SUCCESS\n\nOK\n\nboat/name\nMaud'
expect "txn" "$success" "$(ctl txn <<'TXN'
value("boat/name") = "Gjoa"

put boat/name Maud
get boat/name

get boat/name

TXN
)"
expect "txn, else" $'FAILURE\n\nboat/name\nMaud' "$(ctl txn <<'TXN'
version("boat/name") = "99"

put boat/name Nimrod

get boat/name

TXN
)"

revision=$(ctl get boat/name -w json | python3 -c 'import json, sys; print(json.load(sys.stdin)["header"]["revision"])')
ETCDCTL_API=3 "$program" --endpoints "$ENDPOINTS" watch boat/ --prefix --rev "$((revision + 1))" >"$work/watch" &
watcher=$! # not through ctl, whose process would be a shell around the one to end
ctl put boat/name Endurance >/dev/null
ctl del boat/name >/dev/null
for _ in $(seq 100); do
    [ "$(wc -l <"$work/watch")" -ge 5 ] && break
    sleep 0.1
done
expect "watch" $'PUT\nboat/name\nEndurance\nDELETE\nboat/name' "$(sed '/^$/d' "$work/watch")"
kill "$watcher" && wait "$watcher" 2>/dev/null || true
watcher=

granted=$(ctl lease grant 60)
matches "lease grant" '^lease [0-9a-f]{16} granted with TTL\(60s\)$' "$granted"
lease=$(cut -d' ' -f2 <<<"$granted")
expect "put --lease" OK "$(ctl put boat/leased yes --lease="$lease")"
matches "lease keep-alive" "^lease $lease keepalived with TTL\(60\)$" "$(ctl lease keep-alive --once "$lease")"
matches "lease timetolive" "^lease $lease granted with TTL\(60s\), remaining\([0-9]+s\), attached keys\(\[boat/leased\]\)$" \
    "$(ctl lease timetolive "$lease" --keys)"
matches "lease list" "$lease" "$(ctl lease list)"
expect "lease revoke" "lease $lease revoked" "$(ctl lease revoke "$lease")"
expect "get of a revoked lease's key" "" "$(ctl get boat/leased)"
matches "lease timetolive, gone" "^lease $lease already expired$" "$(ctl lease timetolive "$lease")"
matches "lease revoke, gone" "requested lease not found" "$(ctl lease revoke "$lease" 2>&1 || true)"

members=$(ctl member list)
expect "member list" 3 "$(wc -l <<<"$members")"
for name in m0 m1 m2; do matches "member list" "started, $name, http://127.0.0.1:[0-9]+, http://" "$members"; done
expect "endpoint health" 3 "$(ctl endpoint health 2>&1 | grep -c 'is healthy: successfully committed proposal')"
status=$(ctl endpoint status -w json)
python3 - "$status" <<'PYTHON'
import json, sys
rows = [row["Status"] for row in json.loads(sys.argv[1])]
assert len(rows) == 3, rows
assert len({row["leader"] for row in rows}) == 1, "members disagree about the leader"
assert sum(row["leader"] == row["header"]["member_id"] for row in rows) == 1, "one of them leads"
assert all(row["dbSize"] > 0 and row["raftAppliedIndex"] > 0 for row in rows), rows
PYTHON
ctl put boat/saved yes >/dev/null
matches "snapshot save" '^Snapshot saved at ' "$(first snapshot save "$work/snapshot.db" 2>/dev/null)"
python3 - "$work/snapshot.db" <<'PYTHON'
import hashlib, sys
whole = open(sys.argv[1], "rb").read()
assert len(whole) % 512 == 32, f"{len(whole)} bytes: no digest at the end"
assert hashlib.sha256(whole[:-32]).digest() == whole[-32:], "the digest at the end does not match"
assert b"boat/saved" in whole, "what was acknowledged before is not in it"
PYTHON
matches "snapshot save of several" "snapshot must be requested to one selected node" \
    "$(ctl snapshot save "$work/several.db" 2>&1 || true)"
expect "get past the end" "" "$(ctl get boat/none)"
matches "get of a compacted revision" "required revision has been compacted" \
    "$(ctl compaction "$revision" >/dev/null; ctl get boat/name --rev 1 2>&1 || true)"
