# user, role and auth. Ends as it began: off, and without users.
# shellcheck shell=bash

expect "user add" "User root created" "$(ctl user add root:secret)"
expect "user add --new-user-password" "User vera created" "$(ctl user add vera --new-user-password first)"
expect "user add --no-password" "User guest created" "$(ctl user add guest --no-password)"
expect "user add, the password read" "User piped created" "$(echo secret | ctl user add piped --interactive=false)"
fails "user add, twice" 'etcdserver: user name already exists' ctl user add vera:again
expect "user list" $'guest\npiped\nroot\nvera' "$(ctl user list | sort)"
expect "user delete" "User piped deleted" "$(ctl user delete piped)"
fails "user delete, nobody" 'etcdserver: user name not found' ctl user delete piped
expect "role add" "Role root created" "$(ctl role add root)"
expect "role add" "Role part created" "$(ctl role add part)"
fails "role add, twice" 'etcdserver: role name already exists' ctl role add part
expect "role grant-permission" "Role part updated" "$(ctl role grant-permission part readwrite part/ --prefix)"
expect "role grant-permission of a range" "Role part updated" "$(ctl role grant-permission part read other/a other/c)"
expect "role grant-permission from a key on" "Role part updated" "$(ctl role grant-permission part write zz --from-key)"
fails "role grant-permission of nonsense" 'invalid permission type' ctl role grant-permission part sideways a
fails "role grant-permission of no role" 'etcdserver: role name not found' ctl role grant-permission none read a
expect "role get" "Role part
KV Read:
	[other/a, other/c)
	[part/, part0) (prefix part/)
KV Write:
	[part/, part0) (prefix part/)
	[zz, <open ended>" "$(ctl role get part)"
expect "role list" $'part\nroot' "$(ctl role list)"
expect "user grant-role" "Role part is granted to user vera" "$(ctl user grant-role vera part)"
expect "user grant-role" "Role root is granted to user root" "$(ctl user grant-role root root)"
expect "user get" $'User: vera\nRoles: part' "$(ctl user get vera)"
matches "user get --detail" '^	\[part/, part0\) \(prefix part/\)$' "$(ctl user get vera --detail)"
expect "auth status" "Authentication Status: false" "$(ctl auth status | head -n 1)"
expect "auth enable" "Authentication Enabled" "$(ctl auth enable)"

root() { ctl --user root:secret "$@"; }
vera() { ctl --user vera --password first "$@"; }
expect "auth status of one that may ask" "Authentication Status: true" "$(root auth status | head -n 1)"
fails "get by nobody" 'etcdserver: user name is empty' ctl get part/x
fails "get with a wrong password" 'etcdserver: authentication failed, invalid user ID or password' ctl --user vera:wrong get part/x
expect "put of one's own" OK "$(vera put part/x mine)"
expect "get of one's own" mine "$(vera get part/x --print-value-only)"
fails "put of another's" 'etcdserver: permission denied' vera put other/a x
fails "get of a wider range" 'etcdserver: permission denied' vera get part/ --from-key
fails "what only root may" 'etcdserver: permission denied' vera user list
fails "a watch of another's" 'permission denied' timeout 10 "$program" --endpoints "$ENDPOINTS" --user vera:first watch secret
expect "a lease with auth on" 1 "$(vera lease grant 60 | grep -c granted)"
matches "endpoint health with auth on" 'is healthy' "$(root endpoint health 2>&1)"
expect "user passwd" "Password updated" "$(echo second | root user passwd vera --interactive=false)"
fails "the old password" 'authentication failed' vera get part/x
expect "the new password" mine "$(ctl --user vera:second get part/x --print-value-only)"
expect "role revoke-permission" "Permission of range [other/a, other/c) is revoked from role part" \
    "$(root role revoke-permission part other/a other/c)"
expect "user revoke-role" "Role part is revoked from user vera" "$(root user revoke-role vera part)"
fails "without the role" 'etcdserver: permission denied' ctl --user vera:second get part/x
fails "root cannot go" 'etcdserver: invalid auth management' root user delete root
fails "auth disable by another" 'etcdserver: permission denied' ctl --user vera:second auth disable
expect "auth disable" "Authentication Disabled" "$(root auth disable)"
for user in root vera guest; do ctl user delete "$user" >/dev/null; done
expect "role delete" "Role part deleted" "$(ctl role delete part)"
ctl role delete root >/dev/null
ctl del part/ --prefix >/dev/null
