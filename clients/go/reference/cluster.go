package main

import (
	"context"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// clusterErrors asks for changes of the members that cannot be, for one that can, and for upkeep.
func clusterErrors(r *run) {
	ask := func(method string, request proto.Message) {
		for _, gateway := range []bool{false, true} {
			r.both(step{method: "/etcdserverpb." + method, request: request, gateway: gateway, again: true})
		}
	}
	ask("Cluster/MemberList", &pb.MemberListRequest{})
	ask("Cluster/MemberList", &pb.MemberListRequest{Linearizable: true})
	ask("Cluster/MemberAdd", &pb.MemberAddRequest{})
	ask("Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"nonsense"}})
	ask("Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1"}})
	ask("Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:9/path"}})
	ask("Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"ftp://127.0.0.1:9"}})
	ask("Cluster/MemberRemove", &pb.MemberRemoveRequest{})
	ask("Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: 5})
	ask("Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: 5, PeerURLs: []string{"http://127.0.0.1:9"}})
	ask("Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: 5})
	ask("Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: 5, PeerURLs: []string{"nonsense"}})
	ask("Cluster/MemberPromote", &pb.MemberPromoteRequest{ID: 5})
	r.eachMember("Cluster/MemberPromote", func(id uint64) proto.Message { return &pb.MemberPromoteRequest{ID: id} })
	r.learner()

	ask("Maintenance/Alarm", &pb.AlarmRequest{})
	ask("Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 5})
	ask("Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 5})
	ask("KV/Put", &pb.PutRequest{Key: []byte("full")})
	ask("KV/Range", &pb.RangeRequest{Key: []byte("full")})
	ask("KV/Txn", &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("full")}}}}})
	ask("KV/DeleteRange", &pb.DeleteRangeRequest{Key: []byte("full")})
	ask("Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: 901, TTL: 600})
	ask("Maintenance/Alarm", &pb.AlarmRequest{Alarm: pb.AlarmType_NOSPACE})
	ask("Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 5})
	ask("KV/Put", &pb.PutRequest{Key: []byte("full")})
	ask("Maintenance/Defragment", &pb.DefragmentRequest{})
	ask("Maintenance/Hash", &pb.HashRequest{})
	ask("Maintenance/HashKV", &pb.HashKVRequest{})
	ask("Maintenance/HashKV", &pb.HashKVRequest{Revision: 1 << 40})
	ask("Maintenance/HashKV", &pb.HashKVRequest{Revision: -1})
	ask("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "nonsense"})
	ask("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "2.0"})
	ask("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL})
	ask("Maintenance/Downgrade", &pb.DowngradeRequest{Action: 9})
	r.leader()
}

// eachMember sends a request that names a member, whose id is another in each cluster.
func (r *run) eachMember(method string, request func(id uint64) proto.Message) {
	for i := range r.model.members {
		s := step{method: "/etcdserverpb." + method}
		s.request = request(r.model.members[i])
		model := r.model.ask(s)
		s.request = request(r.tested.members[i])
		r.compare(s.method, s.String(), model, r.tested.ask(s))
	}
}

// learner adds a member that will never start, tries what cannot be done with it, and removes it again.
func (r *run) learner() {
	peers := []string{"http://127.0.0.1:9"}
	added := map[*target]uint64{}
	for _, side := range []*target{r.model, r.tested} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		answer, err := pb.NewClusterClient(side.conns[0]).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: peers, IsLearner: true})
		cancel()
		if err == nil {
			added[side] = answer.Member.ID
		}
	}
	r.compare("Cluster/MemberAdd", "a learner is added", fmt.Sprint(added[r.model] != 0), fmt.Sprint(added[r.tested] != 0))
	for _, what := range []struct {
		method  string
		request func(id uint64) proto.Message
	}{
		{"Cluster/MemberAdd", func(uint64) proto.Message {
			return &pb.MemberAddRequest{PeerURLs: append(peers, "http://127.0.0.1:12")}
		}},
		{"Cluster/MemberAdd", func(uint64) proto.Message {
			return &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:10"}, IsLearner: true}
		}},
		{"Cluster/MemberPromote", func(id uint64) proto.Message { return &pb.MemberPromoteRequest{ID: id} }},
		{"Cluster/MemberList", func(uint64) proto.Message { return &pb.MemberListRequest{Linearizable: true} }},
		{"Cluster/MemberUpdate", func(id uint64) proto.Message {
			return &pb.MemberUpdateRequest{ID: id, PeerURLs: []string{"http://127.0.0.1:11"}}
		}},
		{"Cluster/MemberRemove", func(id uint64) proto.Message { return &pb.MemberRemoveRequest{ID: id} }},
		{"Cluster/MemberRemove", func(id uint64) proto.Message { return &pb.MemberRemoveRequest{ID: id} }},
		{"Cluster/MemberList", func(uint64) proto.Message { return &pb.MemberListRequest{Linearizable: true} }},
	} {
		s := step{method: "/etcdserverpb." + what.method, request: what.request(added[r.model])}
		model := r.model.ask(s)
		s.request = what.request(added[r.tested])
		r.compare(s.method, s.String(), model, r.tested.ask(s))
	}
}

// leader moves the leadership: to nobody, by one that does not lead, and as it should be.
func (r *run) leader() {
	try := func(side *target) string {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var lines []string
		for _, conn := range side.conns {
			maintenance := pb.NewMaintenanceClient(conn)
			status, err := maintenance.Status(ctx, &pb.StatusRequest{})
			if err != nil {
				return failure(err)
			}
			other := status.Leader
			for _, id := range side.members {
				if id != status.Leader {
					other = id
				}
			}
			leads := status.Leader == status.Header.MemberId
			for _, to := range []uint64{5, 0, other} {
				if leads && to == other {
					continue // done once, at the end
				}
				_, err := maintenance.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: to})
				lines = append(lines, fmt.Sprintf("leads: %v, to a member: %v: %v", leads, to == other, err))
			}
		}
		counted := map[string]int{}
		for _, line := range lines {
			counted[line]++
		}
		return strings.ReplaceAll(fmt.Sprint(counted), " leads", "\n    leads")
	}
	r.compare("Maintenance/MoveLeader", "each member is asked to move the leadership to 5, to 0, and to one that does not lead", try(r.model), try(r.tested))
}
