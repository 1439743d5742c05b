package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// caughtUp is how long etcd may take until a watch that began in the past has all that happened.
const caughtUp = 250 * time.Millisecond

// recording is what one watch stream has delivered: for each watch the events in order, and apart from them what was said
// about it. How events were put together into messages is the server's own choice.
type recording struct {
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	cancel context.CancelFunc
	mutex  sync.Mutex
	said   map[int64][]string
	events map[int64][]string
	ended  string
}

func (t *target) record(member int, user string) *recording {
	ctx, cancel := context.WithCancel(context.Background())
	if user != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "token", t.tokens[user])
	}
	recording := &recording{cancel: cancel, said: map[int64][]string{}, events: map[int64][]string{}}
	stream, err := pb.NewWatchClient(t.conns[member%len(t.conns)]).Watch(ctx)
	if err != nil {
		recording.ended = failure(err)
		return recording
	}
	recording.stream = stream
	go recording.receive()
	return recording
}

func (r *recording) receive() {
	for {
		response, err := r.stream.Recv()
		r.mutex.Lock()
		if err != nil {
			r.ended = failure(err)
			r.mutex.Unlock()
			return
		}
		id := response.WatchId
		if len(response.Events) == 0 || response.Created || response.Canceled {
			r.said[id] = append(r.said[id], fmt.Sprintf("created=%v canceled=%v compact_revision=%d reason=%q revision=%d", response.Created,
				response.Canceled, response.CompactRevision, response.CancelReason, response.GetHeader().GetRevision()))
		}
		for _, event := range response.Events {
			r.events[id] = append(r.events[id], strings.ToLower(event.Type.String())+" "+short(readable(event), 300))
		}
		r.mutex.Unlock()
	}
}

func (r *recording) String() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var lines []string
	for id, said := range r.said {
		lines = append(lines, fmt.Sprintf("watch %d was told: %s", id, strings.Join(said, "; ")))
	}
	for id, events := range r.events {
		lines = append(lines, fmt.Sprintf("watch %d got: %s", id, strings.Join(events, "; ")))
	}
	slices.Sort(lines)
	return strings.Join(append(lines, r.ended), "\n    ")
}

// pair is the same stream at both clusters.
type pair struct {
	run           *run
	model, tested *recording
	history       []string
	differ        bool
}

func (r *run) openPair(member int, user string) *pair {
	return &pair{run: r, model: r.model.record(member, user), tested: r.tested.record(member, user)}
}

func (p *pair) send(request *pb.WatchRequest) {
	p.history = append(p.history, readable(request))
	for _, side := range []*recording{p.model, p.tested} {
		if side.stream != nil {
			_ = side.stream.Send(proto.Clone(request).(*pb.WatchRequest)) // an ended stream is seen by its recording
		}
	}
}

// settle waits until both have the same and nothing more comes, or it is clear that this does not happen.
func (p *pair) settle() {
	for range 60 {
		if p.differ {
			return
		}
		before := p.model.String()
		time.Sleep(25 * time.Millisecond)
		if p.tested.String() == before && p.model.String() == before {
			return
		}
	}
	p.differ = true
	return
}

func (p *pair) close(kind string) {
	time.Sleep(caughtUp)
	p.settle()
	p.run.compare(kind, kind+"\n  "+strings.Join(p.history, "\n  "), p.model.String(), p.tested.String())
	for _, side := range []*recording{p.model, p.tested} {
		side.cancel()
	}
}

func create(request *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}
}

func (g *generator) watch() *pb.WatchCreateRequest {
	request := &pb.WatchCreateRequest{Key: g.key(), PrevKv: g.Intn(3) == 0, ProgressNotify: g.Intn(4) == 0, Fragment: g.Intn(4) == 0}
	request.RangeEnd = g.end(request.Key)
	if g.Intn(2) == 0 {
		request.StartRevision = g.near()
	}
	if request.StartRevision == math.MaxInt64 {
		request.StartRevision = g.revision + 4
	}
	if g.Intn(4) == 0 {
		for range 1 + g.Intn(2) {
			request.Filters = append(request.Filters, pb.WatchCreateRequest_FilterType(g.one(0, 1, 0, 1, 7)))
		}
	}
	if g.Intn(4) == 0 {
		request.WatchId = int64(g.one(1, 2, 3, 77, -1, -2))
	}
	return request
}

// scenario opens a stream, creates and cancels watches, asks for progress, and writes, in an order drawn from the seed.
func scenario(r *run, g *generator) {
	member := g.Intn(len(r.model.conns))
	p := r.openPair(member, "")
	for range 4 + g.Intn(10) {
		if p.differ {
			break
		}
		switch n := g.Intn(20); {
		case n < 6:
			p.send(create(g.watch()))
			p.settle()
		case n < 8:
			time.Sleep(caughtUp)
			p.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: int64(g.one(0, 1, 2, 77, 5, -1))}}})
			p.settle()
		case n < 9:
			time.Sleep(caughtUp)
			p.settle()
			p.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
			p.settle()
		case n < 10:
			time.Sleep(caughtUp)
			p.write(step{method: "/etcdserverpb.KV/Compact", request: &pb.CompactionRequest{Revision: g.revision - g.Int63n(6)}, member: member}, g)
			g.compacted = max(g.compacted, g.revision-5)
			p.settle()
		case n < 15:
			p.write(step{method: "/etcdserverpb.KV/Put", request: g.putRequest(), member: member}, g)
		case n < 17:
			p.write(step{method: "/etcdserverpb.KV/DeleteRange", request: g.deleteRequest(), member: member}, g)
		default:
			p.write(step{method: "/etcdserverpb.KV/Txn", request: g.txnRequest(1), member: member}, g)
		}
	}
	p.close("watch scenario")
}

func (p *pair) write(s step, g *generator) {
	p.history = append(p.history, s.String())
	g.revision = max(g.revision, revisionOf(p.run.both(s)))
}

func watchScenarios(r *run) {
	g := &generator{Rand: r.rand, revision: 1, fragile: r.fragile}
	for range r.scenarios {
		scenario(r, g)
	}
	large(r, g)
}

// large has a watch catch up with more than one message may hold, in parts if the client allows parts.
func large(r *run, g *generator) {
	first := g.revision + 1
	for i := range 6 {
		put := &pb.PutRequest{Key: fmt.Appendf(nil, "large/%d", i), Value: make([]byte, 700_000)}
		g.revision = max(g.revision, revisionOf(r.both(step{method: "/etcdserverpb.KV/Put", request: put})))
	}
	for _, fragment := range []bool{false, true} {
		p := r.openPair(0, "")
		p.send(create(&pb.WatchCreateRequest{Key: []byte("large/"), RangeEnd: []byte("large0"), StartRevision: first, Fragment: fragment}))
		p.settle()
		p.close("watch of much")
	}
	r.both(step{method: "/etcdserverpb.KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte("large/"), RangeEnd: []byte("large0")}})
}
