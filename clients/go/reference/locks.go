package main

import (
	electionpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// locks takes and gives back locks and offices, and does each thing at the wrong time too.
func locks(r *run) {
	for _, gateway := range []bool{false, true} {
		ask := func(method string, message proto.Message) {
			r.both(step{method: method, request: message, gateway: gateway})
		}
		lease, other := int64(501), int64(502)
		ask("/etcdserverpb.Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: lease, TTL: 600})
		ask("/etcdserverpb.Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: other, TTL: 600})
		ask("/v3lockpb.Lock/Lock", &lockpb.LockRequest{Name: []byte("lock"), Lease: lease})
		ask("/v3lockpb.Lock/Lock", &lockpb.LockRequest{Name: []byte("lock"), Lease: lease})
		ask("/v3lockpb.Lock/Unlock", &lockpb.UnlockRequest{Key: []byte("lock/1f5")})
		ask("/v3lockpb.Lock/Unlock", &lockpb.UnlockRequest{Key: []byte("lock/1f5")})
		ask("/v3lockpb.Lock/Unlock", &lockpb.UnlockRequest{})
		ask("/v3lockpb.Lock/Lock", &lockpb.LockRequest{Name: []byte("lock"), Lease: other})
		ask("/v3lockpb.Lock/Lock", &lockpb.LockRequest{Name: []byte("lock"), Lease: 503})
		ask("/v3lockpb.Lock/Lock", &lockpb.LockRequest{Lease: lease})

		ask("/v3electionpb.Election/Leader", &electionpb.LeaderRequest{Name: []byte("office")})
		ask("/v3electionpb.Election/Leader", &electionpb.LeaderRequest{})
		ask("/v3electionpb.Election/Campaign", &electionpb.CampaignRequest{Name: []byte("office"), Lease: 503, Value: []byte("v")})
		ask("/v3electionpb.Election/Campaign", &electionpb.CampaignRequest{Name: []byte("office"), Lease: lease, Value: []byte("v")})
		ask("/v3electionpb.Election/Campaign", &electionpb.CampaignRequest{Name: []byte("office"), Lease: lease, Value: []byte("w")})
		ask("/v3electionpb.Election/Leader", &electionpb.LeaderRequest{Name: []byte("office")})
		ask("/v3electionpb.Election/Proclaim", &electionpb.ProclaimRequest{Value: []byte("x")})
		ask("/v3electionpb.Election/Resign", &electionpb.ResignRequest{})
		wrong := &electionpb.LeaderKey{Name: []byte("office"), Key: []byte("office/1f5"), Rev: 1, Lease: lease}
		ask("/v3electionpb.Election/Proclaim", &electionpb.ProclaimRequest{Leader: wrong, Value: []byte("x")})
		ask("/v3electionpb.Election/Resign", &electionpb.ResignRequest{Leader: wrong})
		ask("/v3electionpb.Election/Leader", &electionpb.LeaderRequest{Name: []byte("office")})
		for _, id := range []int64{lease, other} {
			ask("/etcdserverpb.Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: id})
		}
		ask("/etcdserverpb.KV/Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	}
}
