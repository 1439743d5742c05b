package main

import (
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// as makes a client that logs in.
func (s *session) as(name, password string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: s.endpoints, DialTimeout: patience, Username: name, Password: password})
}

func auth(s *session) {
	must(s.UserAdd(s, "root", "secret"))
	_, err := s.AuthEnable(s)
	refused("auth without a root role", err, "root user does not have root role")
	must(s.RoleAdd(s, "root"))
	must(s.UserGrantRole(s, "root", "root"))
	must(s.UserAdd(s, "go", "first"))
	_, err = s.UserAdd(s, "go", "first")
	refused("a user twice", err, rpctypes.ErrUserAlreadyExist.Error())
	must(s.UserAddWithOptions(s, "guest", "", &clientv3.UserAddOptions{NoPassword: true}))
	must(s.RoleAdd(s, "part"))
	must(s.RoleGrantPermission(s, "part", "go/part/", clientv3.GetPrefixRangeEnd("go/part/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(s.UserGrantRole(s, "go", "part"))
	same("roles of a user", must(s.UserGet(s, "go")).Roles[0], "part")
	same("permissions of a role", string(must(s.RoleGet(s, "part")).Perm[0].Key), "go/part/")
	same("users", len(must(s.UserList(s)).Users), 3)
	same("roles", len(must(s.RoleList(s)).Roles), 2)
	must(s.AuthEnable(s))
	root := must(s.as("root", "secret"))
	defer root.Close()
	defer s.off(root)

	holds("it is on", must(root.AuthStatus(s)).Enabled)
	_, err = s.Get(s, "go/part/x")
	refused("nobody reads", err, rpctypes.ErrUserEmpty.Error())
	_, err = s.as("go", "wrong")
	refused("a wrong password", err, rpctypes.ErrAuthFailed.Error())
	user := must(s.as("go", "first"))
	defer user.Close()
	must(user.Put(s, "go/part/x", "mine"))
	_, err = user.Put(s, "go/other", "not mine")
	refused("a key that is not his", err, rpctypes.ErrPermissionDenied.Error())
	_, err = user.Get(s, "go/part/", clientv3.WithFromKey())
	refused("a range that is wider than his", err, rpctypes.ErrPermissionDenied.Error())
	_, err = user.UserList(s)
	refused("what only root may", err, rpctypes.ErrPermissionDenied.Error())
	denied := s.watchOnce(user, "go/other")
	holds("a watch that he may not have", denied.Canceled)
	allowed := user.Watch(s, "go/part/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	s.next(allowed)
	must(root.Put(s, "go/part/y", "by root"))
	same("a watch that he may", s.collect(allowed, 1), "put go/part/y by root")

	// Changing the password makes his token worthless; a client renews it by itself, if it can.
	must(root.UserChangePassword(s, "go", "second"))
	_, err = user.Get(s, "go/part/x")
	refused("with the old password", err, rpctypes.ErrAuthFailed.Error())
	again := must(s.as("go", "second"))
	defer again.Close()
	must(again.Get(s, "go/part/x"))
	// A role that changes makes the auth revision go on; the token stays good.
	must(root.RoleGrantPermission(s, "part", "go/other", "", clientv3.PermissionType(clientv3.PermRead)))
	must(again.Get(s, "go/other"))
	must(root.RoleRevokePermission(s, "part", "go/other", ""))
	_, err = again.Get(s, "go/other")
	refused("after it was taken back", err, rpctypes.ErrPermissionDenied.Error())
	must(root.UserRevokeRole(s, "go", "part"))
	_, err = again.Get(s, "go/part/x")
	refused("without the role", err, rpctypes.ErrPermissionDenied.Error())
	_, err = root.UserDelete(s, "root")
	refused("root cannot go", err, rpctypes.ErrInvalidAuthMgmt.Error())
}

// watchOnce is the first thing said on a watch.
func (s *session) watchOnce(client *clientv3.Client, key string) clientv3.WatchResponse {
	return s.next(client.Watch(s, key, clientv3.WithCreatedNotify()))
}

// off turns auth off and removes the users and roles.
func (s *session) off(root *clientv3.Client) {
	must(root.AuthDisable(s))
	for _, name := range []string{"root", "go", "guest"} {
		must(s.UserDelete(s, name))
	}
	for _, name := range []string{"root", "part"} {
		must(s.RoleDelete(s, name))
	}
}
