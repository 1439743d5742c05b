package main

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// authorization makes users and roles, some of them wrongly, and lets each user try everything.
func authorization(r *run) {
	ask := func(user, method string, request proto.Message) {
		r.both(step{method: "/etcdserverpb." + method, request: request, user: user, gateway: r.rand.Intn(5) == 0 && method != "Auth/Authenticate"})
	}
	login := func(name, password string) {
		ask("", "Auth/Authenticate", &pb.AuthenticateRequest{Name: name, Password: password})
	}
	login("root", "secret")
	ask("", "Auth/AuthStatus", &pb.AuthStatusRequest{})
	ask("", "Auth/AuthEnable", &pb.AuthEnableRequest{})
	ask("", "Auth/AuthDisable", &pb.AuthDisableRequest{})
	preparation(ask)
	ask("", "Auth/AuthEnable", &pb.AuthEnableRequest{})
	login("root", "wrong")
	login("nobody", "secret")
	login("guest", "")
	for _, name := range []string{"root", "reader", "writer", "both", "bare"} {
		login(name, "secret")
	}
	ask("", "Auth/AuthStatus", &pb.AuthStatusRequest{})
	ask("root", "Auth/AuthEnable", &pb.AuthEnableRequest{})
	ask("root", "Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: 801, TTL: 600})
	ask("root", "KV/Put", &pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: 801})
	for _, user := range []string{"", "unheard-of", "reader", "writer", "both", "bare", "root"} {
		everything(r, user)
	}
	g := &generator{Rand: r.rand, revision: 1, fragile: true}
	for range r.requests / 10 {
		s := g.next(1)
		s.user = []string{"reader", "writer", "both", "bare", "root"}[g.Intn(5)]
		s.member, s.again = 0, false
		g.revision = max(g.revision, revisionOf(r.both(s)))
	}
	for _, user := range []string{"reader", "bare", "root", "unheard-of", ""} {
		watched(r, user)
	}
	changes(ask)
	ask("reader", "KV/Range", &pb.RangeRequest{Key: []byte("a")})
	ask("reader", "Auth/AuthDisable", &pb.AuthDisableRequest{})
	ask("root", "Auth/AuthDisable", &pb.AuthDisableRequest{})
	ask("root", "Auth/AuthDisable", &pb.AuthDisableRequest{})
	ask("", "Auth/AuthStatus", &pb.AuthStatusRequest{})
	ask("", "KV/Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	for _, name := range []string{"root", "reader", "writer", "both", "bare", "guest"} {
		ask("", "Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: name})
	}
	for _, name := range []string{"root", "reads", "writes", "spare"} {
		ask("", "Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: name})
	}
}

type asker func(user, method string, request proto.Message)

func permission(kind authpb.Permission_Type, key, end string) *authpb.Permission {
	return &authpb.Permission{PermType: kind, Key: []byte(key), RangeEnd: []byte(end)}
}

// preparation is done before auth is on, so that nobody needs a token.
func preparation(ask asker) {
	for _, name := range []string{"root", "reader", "writer", "both", "bare", "root", ""} {
		ask("", "Auth/UserAdd", &pb.AuthUserAddRequest{Name: name, Password: "secret"})
	}
	ask("", "Auth/UserAdd", &pb.AuthUserAddRequest{Name: "guest", Options: &authpb.UserAddOptions{NoPassword: true}})
	ask("", "Auth/UserAdd", &pb.AuthUserAddRequest{Name: "guest2"})
	ask("", "Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: "guest2"})
	ask("", "Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: "nobody"})
	ask("", "Auth/AuthEnable", &pb.AuthEnableRequest{})
	for _, name := range []string{"root", "reads", "writes", "spare", "reads", ""} {
		ask("", "Auth/RoleAdd", &pb.AuthRoleAddRequest{Name: name})
	}
	for _, grant := range []*pb.AuthRoleGrantPermissionRequest{
		{Name: "reads", Perm: permission(authpb.READ, "a", "c")},
		{Name: "reads", Perm: permission(authpb.READ, "c", "d")},
		{Name: "reads", Perm: permission(authpb.READ, "f", "")},
		{Name: "writes", Perm: permission(authpb.WRITE, "b", "e")},
		{Name: "writes", Perm: permission(authpb.READWRITE, "e", "\x00")},
		{Name: "writes", Perm: permission(authpb.WRITE, "b", "e")},
		{Name: "spare", Perm: permission(authpb.READ, "x", "y")},
		{Name: "spare", Perm: permission(authpb.READWRITE, "x", "y")},
		{Name: "spare", Perm: permission(authpb.READ, "", "")},
		{Name: "spare", Perm: permission(authpb.READ, "", "\x00")},
		{Name: "spare", Perm: permission(authpb.READ, "\x00", "\x00")},
		{Name: "spare", Perm: permission(authpb.READ, "y", "x")},
		{Name: "spare", Perm: permission(authpb.READ, "y", "y")},
		{Name: "spare"},
		{Name: "none", Perm: permission(authpb.READ, "a", "")},
		{Name: "root", Perm: permission(authpb.READ, "a", "")},
	} {
		ask("", "Auth/RoleGrantPermission", grant)
	}
	for _, name := range []string{"reads", "writes", "spare", "root", "none"} {
		ask("", "Auth/RoleGet", &pb.AuthRoleGetRequest{Role: name})
	}
	for _, pair := range [][2]string{
		{"reader", "reads"}, {"writer", "writes"}, {"both", "reads"}, {"both", "writes"}, {"both", "reads"}, {"reader", "none"},
		{"nobody", "reads"}, {"root", "root"}, {"root", "root"}, {"reader", "spare"},
	} {
		ask("", "Auth/UserGrantRole", &pb.AuthUserGrantRoleRequest{User: pair[0], Role: pair[1]})
	}
	for _, pair := range [][2]string{{"reader", "spare"}, {"reader", "spare"}, {"nobody", "reads"}, {"reader", "none"}} {
		ask("", "Auth/UserRevokeRole", &pb.AuthUserRevokeRoleRequest{Name: pair[0], Role: pair[1]})
	}
	for _, name := range []string{"both", "root", "nobody", ""} {
		ask("", "Auth/UserGet", &pb.AuthUserGetRequest{Name: name})
	}
	ask("", "Auth/UserList", &pb.AuthUserListRequest{})
	ask("", "Auth/RoleList", &pb.AuthRoleListRequest{})
	ask("", "Auth/AuthStatus", &pb.AuthStatusRequest{})
}

// everything lets a user try each call, of which most are not for all.
func everything(r *run, user string) {
	get := func(key, end string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}}}
	}
	put := func(key string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key)}}}
	}
	inner := &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Failure: []*pb.RequestOp{put("a")}}}}
	lease := int64(810 + len(user))
	for _, s := range []step{
		{method: "KV/Range", request: &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("d")}},
		{method: "KV/Range", request: &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("e")}},
		{method: "KV/Range", request: &pb.RangeRequest{Key: []byte("f"), Serializable: true}},
		{method: "KV/Range", request: &pb.RangeRequest{Key: []byte("f"), RangeEnd: []byte{0}}},
		{method: "KV/Range", request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}},
		{method: "KV/Put", request: &pb.PutRequest{Key: []byte("b"), Value: []byte(user)}},
		{method: "KV/Put", request: &pb.PutRequest{Key: []byte("b"), PrevKv: true}},
		{method: "KV/Put", request: &pb.PutRequest{Key: []byte("e"), PrevKv: true}},
		{method: "KV/Put", request: &pb.PutRequest{Key: []byte("e"), Lease: 801}},
		{method: "KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte("b"), RangeEnd: []byte("e")}},
		{method: "KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte("b"), PrevKv: true}},
		{method: "KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte("e"), RangeEnd: []byte{0}, PrevKv: true}},
		{method: "KV/Txn", request: &pb.TxnRequest{Success: []*pb.RequestOp{get("a", "")}, Failure: []*pb.RequestOp{put("b")}}},
		{method: "KV/Txn", request: &pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("e")}}, Success: []*pb.RequestOp{get("f", "")}}},
		{method: "KV/Txn", request: &pb.TxnRequest{Success: []*pb.RequestOp{inner}}},
		{method: "KV/Txn", request: &pb.TxnRequest{}},
		{method: "KV/Compact", request: &pb.CompactionRequest{Revision: 99999}},
		{method: "Lease/LeaseGrant", request: &pb.LeaseGrantRequest{ID: lease, TTL: 500}},
		{method: "Lease/LeaseTimeToLive", request: &pb.LeaseTimeToLiveRequest{ID: 801}},
		{method: "Lease/LeaseTimeToLive", request: &pb.LeaseTimeToLiveRequest{ID: 801, Keys: true}},
		{method: "Lease/LeaseLeases", request: &pb.LeaseLeasesRequest{}},
		{method: "Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: lease}},
		{method: "Auth/UserGet", request: &pb.AuthUserGetRequest{Name: "reader"}},
		{method: "Auth/UserGet", request: &pb.AuthUserGetRequest{Name: "nobody"}},
		{method: "Auth/RoleGet", request: &pb.AuthRoleGetRequest{Role: "reads"}},
		{method: "Auth/RoleGet", request: &pb.AuthRoleGetRequest{Role: "none"}},
		{method: "Auth/UserList", request: &pb.AuthUserListRequest{}},
		{method: "Auth/RoleList", request: &pb.AuthRoleListRequest{}},
		{method: "Auth/UserAdd", request: &pb.AuthUserAddRequest{Name: "reader", Password: "x"}},
		{method: "Auth/UserChangePassword", request: &pb.AuthUserChangePasswordRequest{Name: "nobody", Password: "x"}},
		{method: "Auth/RoleDelete", request: &pb.AuthRoleDeleteRequest{Role: "none"}},
		{method: "Cluster/MemberList", request: &pb.MemberListRequest{}},
		{method: "Cluster/MemberRemove", request: &pb.MemberRemoveRequest{ID: 5}},
		{method: "Maintenance/Status", request: &pb.StatusRequest{}},
		{method: "Maintenance/Alarm", request: &pb.AlarmRequest{}},
		{method: "Maintenance/Alarm", request: &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE}},
		{method: "Maintenance/Hash", request: &pb.HashRequest{}},
		{method: "Maintenance/HashKV", request: &pb.HashKVRequest{}},
		{method: "Maintenance/Defragment", request: &pb.DefragmentRequest{}},
		{method: "Maintenance/MoveLeader", request: &pb.MoveLeaderRequest{TargetID: 5}},
		{method: "Maintenance/Downgrade", request: &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL}},
	} {
		s.method, s.user = "/etcdserverpb."+s.method, user
		if s.method == "/etcdserverpb.Maintenance/MoveLeader" {
			continue // the leader and the others answer differently, and who leads is chance
		}
		r.both(s)
	}
}

// watched opens a stream as a user and watches what the user may see and what not.
func watched(r *run, user string) {
	p := r.openPair(0, user)
	for i, keys := range [][2]string{{"a", "d"}, {"a", "e"}, {"f", ""}, {"\x00", "\x00"}, {"a", "c"}} {
		p.send(create(&pb.WatchCreateRequest{Key: []byte(keys[0]), RangeEnd: []byte(keys[1]), WatchId: int64(i + 1)}))
		p.settle()
	}
	p.write(step{method: "/etcdserverpb.KV/Put", request: &pb.PutRequest{Key: []byte("b"), Value: fmt.Appendf(nil, "for %s", user)}, user: "root"}, &generator{})
	p.close("watch with auth on")
}

// changes takes rights and users away while auth is on.
func changes(ask asker) {
	ask("root", "Auth/RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: "reads", Key: []byte("a"), RangeEnd: []byte("d")})
	ask("root", "Auth/RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: "none", Key: []byte("a")})
	ask("root", "Auth/RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: "reads", Key: []byte("a"), RangeEnd: []byte("c")})
	ask("reader", "KV/Range", &pb.RangeRequest{Key: []byte("a")})
	ask("reader", "KV/Range", &pb.RangeRequest{Key: []byte("c")})
	ask("root", "Auth/UserChangePassword", &pb.AuthUserChangePasswordRequest{Name: "writer", Password: "new"})
	ask("writer", "KV/Put", &pb.PutRequest{Key: []byte("b")})
	ask("", "Auth/Authenticate", &pb.AuthenticateRequest{Name: "writer", Password: "secret"})
	ask("", "Auth/Authenticate", &pb.AuthenticateRequest{Name: "writer", Password: "new"})
	ask("writer", "KV/Put", &pb.PutRequest{Key: []byte("b")})
	ask("root", "Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: "root"})
	ask("root", "Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: "root"})
	ask("root", "Auth/UserRevokeRole", &pb.AuthUserRevokeRoleRequest{Name: "root", Role: "root"})
	ask("root", "Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: "writes"})
	ask("writer", "KV/Put", &pb.PutRequest{Key: []byte("b")})
	ask("root", "Auth/UserGet", &pb.AuthUserGetRequest{Name: "writer"})
	ask("both", "Auth/UserGet", &pb.AuthUserGetRequest{Name: "both"})
	ask("root", "Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: "both"})
	ask("both", "KV/Range", &pb.RangeRequest{Key: []byte("c")})
}
