# member add, update, promote and remove, with a member that never starts.
# shellcheck shell=bash

# After a change of leaders etcd wants five seconds of contact before it lets members change.
forgetful=$(first endpoint status | grep -o ', 3\.5\.1, ' || true)
added=
add() { added=$(ctl member add newcomer --peer-urls http://127.0.0.1:9 --learner 2>"$work/errors"); }
soon 20 add || { cat "$work/errors" >&2; exit 1; }
matches "member add --learner" '^Member +[0-9a-f]+ added( as learner)? to cluster +[0-9a-f]+$' "$added"
matches "member add" '^ETCD_NAME="newcomer"$' "$added"
matches "member add" '^ETCD_INITIAL_CLUSTER=".*newcomer=http://127.0.0.1:9.*"$' "$added"
matches "member add" '^ETCD_INITIAL_ADVERTISE_PEER_URLS="http://127.0.0.1:9"$' "$added"
matches "member add" '^ETCD_INITIAL_CLUSTER_STATE="existing"$' "$added"
id=$(sed -n 's/^Member *\([0-9a-f]*\) added.*/\1/p' <<<"$added")
matches "member list" "^$id, unstarted, , http://127.0.0.1:9, , true\$" "$(ctl member list)"
fails "member add, twice" 'Peer URLs already exists|member ID already exist' ctl member add again --peer-urls http://127.0.0.1:9,http://127.0.0.1:19
fails "member promote too early" 'can only promote a learner member which is in sync with leader' ctl member promote "$id"
matches "member update" "^Member +$id updated in cluster +[0-9a-f]+\$" "$(ctl member update "$id" --peer-urls http://127.0.0.1:10)"
# etcd 3.5.1 forgets that it learns.
matches "member list" "^$id, unstarted, , http://127.0.0.1:10, , (true${forgetful:+|false})\$" "$(ctl member list)"
matches "member remove" "^Member +$id removed from cluster +[0-9a-f]+\$" "$(ctl member remove "$id")"
expect "member list" 3 "$(ctl member list | wc -l)"
fails "member remove again" 'member not found' ctl member remove "$id"
fails "member remove of nonsense" 'bad member ID' ctl member remove nonsense
fails "member promote of nobody" 'member not found' ctl member promote 5
fails "member update of nobody" 'member not found' ctl member update 5 --peer-urls http://127.0.0.1:9
fails "member add without URLs" 'member peer urls not provided' ctl member add nameless
