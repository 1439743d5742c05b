package main

import (
	"context"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// raw is a codec that sends bytes as they are, so that what no message can hold can be sent.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(value any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(value.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, value any) error {
	*value.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = raw{}

// malformed sends what no honest client sends: bytes that are no message, methods that do not exist, values at the edge.
func malformed(r *run) {
	send := func(method string, body []byte, headers ...string) {
		ask := func(t *target) string {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), headers...), patience)
			defer cancel()
			var answer []byte
			if err := t.conns[0].Invoke(ctx, method, body, &answer, grpc.ForceCodecV2(raw{})); err != nil {
				return failure(err)
			}
			return "answered"
		}
		r.compare("malformed "+method, fmt.Sprintf("%s %.100q (%d bytes) %q", method, body, len(body), headers), ask(r.model), ask(r.tested))
	}
	for _, method := range []string{
		"/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn", "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Auth/UserAdd",
		"/etcdserverpb.Cluster/MemberAdd", "/etcdserverpb.Maintenance/Alarm", "/v3lockpb.Lock/Lock", "/v3electionpb.Election/Leader",
	} {
		send(method, []byte{0x0a})
		send(method, []byte{0x0a, 0x05, 'a'})
		send(method, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		send(method, []byte{0x07})
		send(method, []byte{0x00, 0x01})
	}
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a', 0x0a, 0x01, 'b', 0xf8, 0x3f, 0x01}) // a field twice, an unknown one
	send("/etcdserverpb.KV/Range", []byte{0x08, 0x01})                                         // a number where bytes belong
	send("/etcdserverpb.KV/Nothing", nil)
	send("/etcdserverpb.Nothing/Range", nil)
	send("/Nothing", nil)
	send("/etcdserverpb.KV/", nil)
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a'}, "token", "no such token")
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a'}, "authorization", "Bearer nobody")
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a'}, "hasleader", "true")
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a'}, "hasleader", "perhaps")
	send("/etcdserverpb.KV/Range", []byte{0x0a, 0x01, 'a'}, "client-api-version", "no.version")

	deep := &pb.TxnRequest{}
	for range 60 {
		deep = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: deep}}}}
	}
	value := func(size int) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte("size"), Value: []byte(strings.Repeat("x", size))}
	}
	for _, s := range []step{
		{method: "/etcdserverpb.KV/Txn", request: deep},
		{method: "/etcdserverpb.KV/Put", request: value(1_572_864 - 200)},
		{method: "/etcdserverpb.KV/Put", request: value(1_572_864)},
		{method: "/etcdserverpb.KV/Put", request: value(1_572_864 + 512*1024 - 100)},
		{method: "/etcdserverpb.KV/Put", request: value(1_572_864 + 512*1024 + 100)},
		{method: "/etcdserverpb.KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte("size")}},
		{method: "/etcdserverpb.Lease/LeaseGrant", request: &pb.LeaseGrantRequest{TTL: -1, ID: 600}},
		{method: "/etcdserverpb.Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: 600}},
		{method: "/etcdserverpb.Lease/LeaseGrant", request: &pb.LeaseGrantRequest{TTL: 0, ID: 601}},
		{method: "/etcdserverpb.Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: 601}},
		{method: "/etcdserverpb.Lease/LeaseGrant", request: &pb.LeaseGrantRequest{TTL: 600, ID: -7}},
		{method: "/etcdserverpb.Lease/LeaseTimeToLive", request: &pb.LeaseTimeToLiveRequest{ID: -7}},
		{method: "/etcdserverpb.Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: -7}},
		{method: "/etcdserverpb.Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{}},
		{method: "/etcdserverpb.Lease/LeaseTimeToLive", request: &pb.LeaseTimeToLiveRequest{}},
	} {
		r.both(s)
	}
	keepAlives(r)
}

// keepAlives renews leases that are there and that are not.
func keepAlives(r *run) {
	r.both(step{method: "/etcdserverpb.Lease/LeaseGrant", request: &pb.LeaseGrantRequest{ID: 700, TTL: 60}})
	for member := range r.model.conns {
		ask := func(t *target) string {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			stream, err := pb.NewLeaseClient(t.conns[member]).LeaseKeepAlive(ctx)
			if err != nil {
				return failure(err)
			}
			var answers []string
			for _, id := range []int64{700, 701, 0, -1, 700} {
				if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
					return failure(err)
				}
				answer, err := stream.Recv()
				if err != nil {
					return strings.Join(append(answers, failure(err)), "; ")
				}
				answers = append(answers, canonical(answer, nil))
			}
			return strings.Join(answers, "; ")
		}
		r.compare("keep alive", fmt.Sprintf("LeaseKeepAlive of 700, 701, 0, -1, 700 at member %d", member), ask(r.model), ask(r.tested))
	}
	r.both(step{method: "/etcdserverpb.Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: 700}})
}
