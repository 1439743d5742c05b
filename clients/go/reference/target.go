package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	electionpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// patience bounds each call.
const patience = 20 * time.Second

// target is one of the two clusters, with what differs between them though the same was asked: addresses, tokens, ids.
type target struct {
	name    string
	urls    []string
	conns   []*grpc.ClientConn
	tokens  map[string]string
	members []uint64
}

func connect(name, endpoints string) (*target, error) {
	t := &target{name: name, tokens: map[string]string{}}
	for _, url := range strings.Split(endpoints, ",") {
		conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(url, "http://"),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
		if err != nil {
			return nil, err
		}
		t.urls = append(t.urls, url)
		t.conns = append(t.conns, conn)
	}
	list := &pb.MemberListResponse{}
	if err := t.conns[0].Invoke(context.Background(), "/etcdserverpb.Cluster/MemberList", &pb.MemberListRequest{}, list); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, member := range list.Members {
		t.members = append(t.members, member.ID)
	}
	return t, nil
}

// unary lists the calls with one request and one answer: the kind of the answer, and the gateway's path.
var unary = map[string]struct {
	answer func() proto.Message
	path   string
}{
	"/etcdserverpb.KV/Range":       {func() proto.Message { return &pb.RangeResponse{} }, "/v3/kv/range"},
	"/etcdserverpb.KV/Put":         {func() proto.Message { return &pb.PutResponse{} }, "/v3/kv/put"},
	"/etcdserverpb.KV/DeleteRange": {func() proto.Message { return &pb.DeleteRangeResponse{} }, "/v3/kv/deleterange"},
	"/etcdserverpb.KV/Txn":         {func() proto.Message { return &pb.TxnResponse{} }, "/v3/kv/txn"},
	"/etcdserverpb.KV/Compact":     {func() proto.Message { return &pb.CompactionResponse{} }, "/v3/kv/compaction"},

	"/etcdserverpb.Lease/LeaseGrant":      {func() proto.Message { return &pb.LeaseGrantResponse{} }, "/v3/lease/grant"},
	"/etcdserverpb.Lease/LeaseRevoke":     {func() proto.Message { return &pb.LeaseRevokeResponse{} }, "/v3/lease/revoke"},
	"/etcdserverpb.Lease/LeaseTimeToLive": {func() proto.Message { return &pb.LeaseTimeToLiveResponse{} }, "/v3/lease/timetolive"},
	"/etcdserverpb.Lease/LeaseLeases":     {func() proto.Message { return &pb.LeaseLeasesResponse{} }, "/v3/lease/leases"},

	"/etcdserverpb.Cluster/MemberAdd":     {func() proto.Message { return &pb.MemberAddResponse{} }, "/v3/cluster/member/add"},
	"/etcdserverpb.Cluster/MemberRemove":  {func() proto.Message { return &pb.MemberRemoveResponse{} }, "/v3/cluster/member/remove"},
	"/etcdserverpb.Cluster/MemberUpdate":  {func() proto.Message { return &pb.MemberUpdateResponse{} }, "/v3/cluster/member/update"},
	"/etcdserverpb.Cluster/MemberList":    {func() proto.Message { return &pb.MemberListResponse{} }, "/v3/cluster/member/list"},
	"/etcdserverpb.Cluster/MemberPromote": {func() proto.Message { return &pb.MemberPromoteResponse{} }, "/v3/cluster/member/promote"},

	"/etcdserverpb.Maintenance/Alarm":      {func() proto.Message { return &pb.AlarmResponse{} }, "/v3/maintenance/alarm"},
	"/etcdserverpb.Maintenance/Status":     {func() proto.Message { return &pb.StatusResponse{} }, "/v3/maintenance/status"},
	"/etcdserverpb.Maintenance/Defragment": {func() proto.Message { return &pb.DefragmentResponse{} }, "/v3/maintenance/defragment"},
	"/etcdserverpb.Maintenance/Hash":       {func() proto.Message { return &pb.HashResponse{} }, "/v3/maintenance/hash"},
	"/etcdserverpb.Maintenance/HashKV":     {func() proto.Message { return &pb.HashKVResponse{} }, "/v3/maintenance/hashkv"},
	"/etcdserverpb.Maintenance/MoveLeader": {func() proto.Message { return &pb.MoveLeaderResponse{} }, "/v3/maintenance/transfer-leadership"},
	"/etcdserverpb.Maintenance/Downgrade":  {func() proto.Message { return &pb.DowngradeResponse{} }, "/v3/maintenance/downgrade"},

	"/etcdserverpb.Auth/AuthEnable":           {func() proto.Message { return &pb.AuthEnableResponse{} }, "/v3/auth/enable"},
	"/etcdserverpb.Auth/AuthDisable":          {func() proto.Message { return &pb.AuthDisableResponse{} }, "/v3/auth/disable"},
	"/etcdserverpb.Auth/AuthStatus":           {func() proto.Message { return &pb.AuthStatusResponse{} }, "/v3/auth/status"},
	"/etcdserverpb.Auth/Authenticate":         {func() proto.Message { return &pb.AuthenticateResponse{} }, "/v3/auth/authenticate"},
	"/etcdserverpb.Auth/UserAdd":              {func() proto.Message { return &pb.AuthUserAddResponse{} }, "/v3/auth/user/add"},
	"/etcdserverpb.Auth/UserGet":              {func() proto.Message { return &pb.AuthUserGetResponse{} }, "/v3/auth/user/get"},
	"/etcdserverpb.Auth/UserList":             {func() proto.Message { return &pb.AuthUserListResponse{} }, "/v3/auth/user/list"},
	"/etcdserverpb.Auth/UserDelete":           {func() proto.Message { return &pb.AuthUserDeleteResponse{} }, "/v3/auth/user/delete"},
	"/etcdserverpb.Auth/UserChangePassword":   {func() proto.Message { return &pb.AuthUserChangePasswordResponse{} }, "/v3/auth/user/changepw"},
	"/etcdserverpb.Auth/UserGrantRole":        {func() proto.Message { return &pb.AuthUserGrantRoleResponse{} }, "/v3/auth/user/grant"},
	"/etcdserverpb.Auth/UserRevokeRole":       {func() proto.Message { return &pb.AuthUserRevokeRoleResponse{} }, "/v3/auth/user/revoke"},
	"/etcdserverpb.Auth/RoleAdd":              {func() proto.Message { return &pb.AuthRoleAddResponse{} }, "/v3/auth/role/add"},
	"/etcdserverpb.Auth/RoleGet":              {func() proto.Message { return &pb.AuthRoleGetResponse{} }, "/v3/auth/role/get"},
	"/etcdserverpb.Auth/RoleList":             {func() proto.Message { return &pb.AuthRoleListResponse{} }, "/v3/auth/role/list"},
	"/etcdserverpb.Auth/RoleDelete":           {func() proto.Message { return &pb.AuthRoleDeleteResponse{} }, "/v3/auth/role/delete"},
	"/etcdserverpb.Auth/RoleGrantPermission":  {func() proto.Message { return &pb.AuthRoleGrantPermissionResponse{} }, "/v3/auth/role/grant"},
	"/etcdserverpb.Auth/RoleRevokePermission": {func() proto.Message { return &pb.AuthRoleRevokePermissionResponse{} }, "/v3/auth/role/revoke"},

	"/v3lockpb.Lock/Lock":             {func() proto.Message { return &lockpb.LockResponse{} }, "/v3/lock/lock"},
	"/v3lockpb.Lock/Unlock":           {func() proto.Message { return &lockpb.UnlockResponse{} }, "/v3/lock/unlock"},
	"/v3electionpb.Election/Campaign": {func() proto.Message { return &electionpb.CampaignResponse{} }, "/v3/election/campaign"},
	"/v3electionpb.Election/Proclaim": {func() proto.Message { return &electionpb.ProclaimResponse{} }, "/v3/election/proclaim"},
	"/v3electionpb.Election/Leader":   {func() proto.Message { return &electionpb.LeaderResponse{} }, "/v3/election/leader"},
	"/v3electionpb.Election/Resign":   {func() proto.Message { return &electionpb.ResignResponse{} }, "/v3/election/resign"},
}

// step is one request as both clusters get it.
type step struct {
	method  string
	request proto.Message
	member  int    // which of the endpoints is asked
	user    string // whose token goes with it, if any
	gateway bool   // sent as JSON
	again   bool   // the answer may lag behind what another member has done, so it is asked again before it counts
}

func (s step) String() string {
	how := ""
	if s.gateway {
		how += ", as JSON"
	}
	if s.user != "" {
		how += ", as user " + s.user
	}
	return fmt.Sprintf("%s to member %d%s\n  %s", s.method, s.member, how, readable(s.request))
}

// ask sends a step and writes the answer, or the error, in the one form that both clusters' answers are compared in.
func (t *target) ask(s step) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.gateway {
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s.request)
		if err != nil {
			panic(err) // the request is ours
		}
		return t.post(ctx, s.member, "POST", unary[s.method].path, string(body), t.tokens[s.user], s.request)
	}
	if s.user != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "token", t.tokens[s.user])
	}
	message := unary[s.method].answer()
	if err := t.conns[s.member%len(t.conns)].Invoke(ctx, s.method, s.request, message); err != nil {
		return failure(err)
	}
	if login, ok := message.(*pb.AuthenticateResponse); ok {
		t.tokens[s.request.(*pb.AuthenticateRequest).Name] = login.Token
	}
	return canonical(message, s.request)
}

// post sends an HTTP request. What comes back is compared by status and by JSON body.
func (t *target) post(ctx context.Context, member int, verb, path, body, token string, asked proto.Message) string {
	url := t.urls[member%len(t.urls)] + path
	request, err := http.NewRequestWithContext(ctx, verb, url, bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err)
	}
	if token != "" {
		request.Header.Set("Authorization", token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "no answer: " + strings.ReplaceAll(err.Error(), t.urls[member%len(t.urls)], "")
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "half an answer: " + err.Error()
	}
	return fmt.Sprintf("HTTP %d %s", response.StatusCode, canonicalJSON(text, asked))
}

func failure(err error) string {
	s := status.Convert(err)
	if text, _, unreadable := strings.Cut(s.Message(), "error unmarshalling request: "); unreadable {
		return fmt.Sprintf("error %s: %s(why)", s.Code(), text)
	}
	return fmt.Sprintf("error %s: %s", s.Code(), s.Message())
}
