package main

import (
	"fmt"
	"math"
	"math/rand"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// generator draws requests from a seed. It follows the store's revision, so that requests for past and future revisions
// are near to what there is.
type generator struct {
	*rand.Rand
	revision  int64
	compacted int64
	leases    []int64
	fragile   bool // etcd is 3.5: it panics at a sort target that there is not, and applies half of a txn that fails in an inner one
	writer    int  // the member that made the last write: only there is a local read sure to show it
}

func (g *generator) one(of ...int) int { return of[g.Intn(len(of))] }

func (g *generator) rarely() bool { return g.Intn(40) == 0 }

func (g *generator) key() []byte {
	switch {
	case g.rarely():
		return nil
	case g.rarely():
		return []byte{byte(g.one(0, 1, 0xff))}
	}
	key := []byte{"abcdef"[g.Intn(6)]}
	for g.Intn(3) == 0 {
		key = append(key, "xy\x00\xff"[g.Intn(4)])
	}
	return key
}

// end draws the end of a range that begins at key: none, everything from there on, the prefix, or some key.
func (g *generator) end(key []byte) []byte {
	switch g.Intn(6) {
	case 0, 1:
		return nil
	case 2:
		return []byte{0}
	case 3:
		return g.key()
	case 4:
		return []byte("g")
	}
	if len(key) == 0 || key[len(key)-1] == 0xff {
		return []byte{0}
	}
	end := append([]byte(nil), key...)
	end[len(end)-1]++
	return end
}

func (g *generator) value() []byte {
	switch {
	case g.rarely():
		return nil
	case g.rarely():
		return []byte(strings.Repeat("v", 3000))
	}
	return []byte(fmt.Sprint(g.Intn(5)))
}

// near draws a revision: often none, else one of the last, or one that is compacted, in the future or no revision at all.
func (g *generator) near() int64 {
	switch g.Intn(12) {
	case 0, 1, 2:
		return g.revision - g.Int63n(8)
	case 3:
		return g.revision + g.Int63n(3)
	case 4:
		return g.compacted + g.Int63n(3) - 1
	case 5:
		return []int64{-1, math.MinInt64, math.MaxInt64, 1, 2}[g.Intn(5)]
	}
	return 0
}

func (g *generator) lease() int64 {
	switch {
	case g.Intn(3) > 0:
		return 0
	case g.rarely() || len(g.leases) == 0:
		return []int64{-5, 424242, math.MaxInt64}[g.Intn(3)]
	}
	return g.leases[g.Intn(len(g.leases))]
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	request := &pb.RangeRequest{Key: g.key(), Revision: g.near()}
	request.RangeEnd = g.end(request.Key)
	if g.Intn(3) == 0 {
		request.Limit = []int64{1, 2, 3, 5, math.MaxInt64, -1}[g.Intn(6)]
	}
	if g.Intn(2) == 0 {
		request.SortOrder = pb.RangeRequest_SortOrder(g.one(0, 1, 2, 2, 1))
		request.SortTarget = pb.RangeRequest_SortTarget(g.Intn(5))
	}
	if g.rarely() {
		request.SortOrder = pb.RangeRequest_SortOrder(g.one(3, -1))
	}
	if g.rarely() && !g.fragile {
		request.SortTarget = pb.RangeRequest_SortTarget(g.one(5, -1, 1000))
	}
	request.Serializable = g.Intn(4) == 0
	request.KeysOnly = g.Intn(6) == 0
	request.CountOnly = g.Intn(8) == 0
	if g.Intn(8) == 0 {
		for _, filter := range []*int64{&request.MinModRevision, &request.MaxModRevision, &request.MinCreateRevision, &request.MaxCreateRevision} {
			if g.Intn(2) == 0 {
				*filter = g.near()
			}
		}
	}
	return request
}

func (g *generator) putRequest() *pb.PutRequest {
	request := &pb.PutRequest{Key: g.key(), Value: g.value(), Lease: g.lease(), PrevKv: g.Intn(4) == 0}
	if g.Intn(10) == 0 {
		request.IgnoreValue = true
		if g.Intn(4) > 0 {
			request.Value = nil
		}
	}
	if g.Intn(10) == 0 {
		request.IgnoreLease = true
		if g.Intn(4) > 0 {
			request.Lease = 0
		}
	}
	return request
}

func (g *generator) deleteRequest() *pb.DeleteRangeRequest {
	request := &pb.DeleteRangeRequest{Key: g.key(), PrevKv: g.Intn(3) == 0}
	if g.Intn(4) == 0 {
		request.RangeEnd = g.end(request.Key)
	}
	return request
}

func (g *generator) compare() *pb.Compare {
	compare := &pb.Compare{
		Key:    g.key(),
		Result: pb.Compare_CompareResult(g.Intn(4)),
		Target: pb.Compare_CompareTarget(g.Intn(5)),
	}
	if g.rarely() {
		compare.Result = pb.Compare_CompareResult(g.one(4, -1))
	}
	if g.rarely() {
		compare.Target = pb.Compare_CompareTarget(g.one(5, -1))
	}
	if g.Intn(4) == 0 {
		compare.RangeEnd = g.end(compare.Key)
	}
	kind := int(compare.Target)
	if g.rarely() {
		kind = g.Intn(6)
	}
	switch kind {
	case 0:
		compare.TargetUnion = &pb.Compare_Version{Version: g.Int63n(4)}
	case 1:
		compare.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.near()}
	case 2:
		compare.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.near()}
	case 3:
		compare.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case 4:
		compare.TargetUnion = &pb.Compare_Lease{Lease: g.lease()}
	}
	return compare
}

// op draws an operation of a transaction.
func (g *generator) op(depth int) *pb.RequestOp {
	op := g.anyOp(depth)
	if g.fragile && depth > 0 {
		if put := op.GetRequestPut(); put != nil {
			put.Lease, put.IgnoreLease, put.IgnoreValue = 0, false, false
		}
		if read := op.GetRequestRange(); read != nil {
			read.Revision = 0
		}
	}
	return op
}

func (g *generator) anyOp(depth int) *pb.RequestOp {
	switch {
	case g.rarely():
		return &pb.RequestOp{}
	case depth < 3 && g.Intn(6) == 0:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txnRequest(depth + 1)}}
	}
	switch g.Intn(5) {
	case 0, 1:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: g.putRequest()}}
	case 2:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.deleteRequest()}}
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}}
}

func (g *generator) txnRequest(depth int) *pb.TxnRequest {
	request := &pb.TxnRequest{}
	for range g.Intn(3) {
		request.Compare = append(request.Compare, g.compare())
	}
	for range g.Intn(4) {
		request.Success = append(request.Success, g.op(depth))
	}
	for range g.Intn(4) {
		request.Failure = append(request.Failure, g.op(depth))
	}
	if g.Intn(300) == 0 {
		for i := range g.one(126, 128, 129) {
			put := &pb.PutRequest{Key: fmt.Appendf(nil, "many%d", i)}
			request.Success = append(request.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
		}
	}
	return request
}

// next draws the next request to the store or about leases.
func (g *generator) next(members int) step {
	s := step{member: g.Intn(members), gateway: g.Intn(5) == 0}
	set := func(method string, request proto.Message, writes bool) step {
		s.method, s.request = method, request
		if writes {
			g.writer = s.member
		}
		return s
	}
	switch n := g.Intn(100); {
	case n < 35:
		request := g.rangeRequest()
		if request.Serializable {
			s.member, s.again = g.writer, true
		}
		return set("/etcdserverpb.KV/Range", request, false)
	case n < 58:
		return set("/etcdserverpb.KV/Put", g.putRequest(), true)
	case n < 66:
		return set("/etcdserverpb.KV/DeleteRange", g.deleteRequest(), true)
	case n < 88:
		s.again = true // it may read locally, and nothing is written then
		request := g.txnRequest(0)
		for _, ops := range [][]*pb.RequestOp{request.Success, request.Failure} {
			for _, op := range ops {
				s.again = s.again && op.GetRequestRange() != nil
			}
		}
		if s.again {
			s.member = g.writer
		}
		return set("/etcdserverpb.KV/Txn", request, !s.again)
	case n < 89:
		request := &pb.CompactionRequest{Revision: g.near(), Physical: g.Intn(2) == 0}
		if request.Revision > g.compacted && request.Revision <= g.revision {
			g.compacted = request.Revision
		}
		return set("/etcdserverpb.KV/Compact", request, true)
	case n < 93:
		request := &pb.LeaseGrantRequest{ID: int64(1000 + g.Intn(40)), TTL: []int64{600, 1000, 9000000000, 9000000001, math.MaxInt64}[g.Intn(5)]}
		g.leases = append(g.leases, request.ID)
		return set("/etcdserverpb.Lease/LeaseGrant", request, true)
	case n < 95:
		return set("/etcdserverpb.Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: int64(1000 + g.Intn(40))}, true)
	case n < 99:
		s.again = true
		return set("/etcdserverpb.Lease/LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: int64(999 + g.Intn(42)), Keys: g.Intn(2) == 0}, false)
	}
	s.again = true
	return set("/etcdserverpb.Lease/LeaseLeases", &pb.LeaseLeasesRequest{}, false)
}
