package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next waits for an answer on a watch.
func (s *session) next(watch clientv3.WatchChan) clientv3.WatchResponse {
	select {
	case response, open := <-watch:
		holds("the watch stays open", open)
		return response
	case <-s.Done():
		panic(unexpected("a watch has nothing to say"))
	}
}

// collect gathers events, as "put key value" and "delete key".
func (s *session) collect(watch clientv3.WatchChan, count int) string {
	var got []string
	for len(got) < count {
		response := s.next(watch)
		fine(response.Err())
		for _, event := range response.Events {
			got = append(got, strings.TrimSpace(strings.ToLower(event.Type.String())+" "+string(event.Kv.Key)+" "+string(event.Kv.Value)))
		}
	}
	return strings.Join(got, ", ")
}

func watches(s *session) {
	ctx, cancel := context.WithCancel(s)
	defer cancel()
	first := must(s.Put(s, "go/w", "0")).Header.Revision
	past := s.Watch(ctx, "go/w", clientv3.WithRev(first), clientv3.WithPrevKV())
	// From a revision on, for the member that is asked may not have seen the put yet.
	live := s.Watch(ctx, "go/", clientv3.WithPrefix(), clientv3.WithRev(first+1), clientv3.WithCreatedNotify())
	holds("it is said that a watch is made", s.next(live).Created)
	onlyDeletes := s.Watch(ctx, "go/w", clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	s.next(onlyDeletes)
	must(s.Put(s, "go/w", "1"))
	must(s.Put(s, "go/x", "2"))
	deleted := must(s.Delete(s, "go/w"))
	same("from the past on", s.collect(past, 3), "put go/w 0, put go/w 1, delete go/w")
	same("of a prefix", s.collect(live, 3), "put go/w 1, put go/x 2, delete go/w")
	same("without puts", s.collect(onlyDeletes, 1), "delete go/w")

	fine(s.RequestProgress(ctx))
	for {
		response := s.next(live)
		if response.IsProgressNotify() {
			holds("progress is at least what was delivered", response.Header.Revision >= deleted.Header.Revision)
			break
		}
	}
	large(s)
	resumed(s)

	must(s.Compact(s, deleted.Header.Revision))
	old := s.Watch(s, "go/w", clientv3.WithRev(first))
	response := s.next(old)
	refused("a watch of what is compacted", response.Err(), rpctypes.ErrCompacted.Error())
	same("says from where on there is something", response.CompactRevision, deleted.Header.Revision)
	hasLeader := s.Watch(clientv3.WithRequireLeader(s), "go/l", clientv3.WithCreatedNotify())
	holds("with a leader", s.next(hasLeader).Created)
}

// large has a watch catch up with more than one message may hold.
func large(s *session) {
	first := int64(0)
	for i := range 4 {
		put := must(s.Put(s, fmt.Sprintf("go/large/%d", i), strings.Repeat("x", 900_000)))
		if first == 0 {
			first = put.Header.Revision
		}
	}
	ctx, cancel := context.WithCancel(s)
	defer cancel()
	parts := s.Watch(ctx, "go/large/", clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithFragment())
	seen := 0
	for seen < 4 {
		response := s.next(parts)
		fine(response.Err())
		seen += len(response.Events)
	}
	same("events in parts", seen, 4)
	must(s.Delete(s, "go/large/", clientv3.WithPrefix()))
}

// resumed changes the endpoints under a watch, which has to go on where it was.
func resumed(s *session) {
	client := must(clientv3.New(clientv3.Config{Endpoints: s.endpoints[:1], DialTimeout: patience}))
	defer client.Close()
	watch := client.Watch(s, "go/r", clientv3.WithCreatedNotify())
	s.next(watch)
	must(s.Put(s, "go/r", "1"))
	same("before", s.collect(watch, 1), "put go/r 1")
	client.SetEndpoints(s.endpoints[len(s.endpoints)-1])
	must(s.Put(s, "go/r", "2"))
	time.Sleep(200 * time.Millisecond)
	must(s.Put(s, "go/r", "3"))
	same("after", s.collect(watch, 2), "put go/r 2, put go/r 3")
}

func leases(s *session) {
	lease := must(s.Grant(s, 60))
	same("granted", lease.TTL, int64(60))
	must(s.Put(s, "go/leased", "x", clientv3.WithLease(lease.ID)))
	same("once kept alive", must(s.KeepAliveOnce(s, lease.ID)).TTL, int64(60))
	ctx, cancel := context.WithCancel(s)
	alive := must(s.KeepAlive(ctx, lease.ID))
	select {
	case answer := <-alive:
		same("kept alive", answer.ID, lease.ID)
	case <-s.Done():
		panic(unexpected("no answer to a keep alive"))
	}
	cancel()
	left := must(s.TimeToLive(s, lease.ID, clientv3.WithAttachedKeys()))
	same("attached", string(left.Keys[0]), "go/leased")
	holds("time is left", left.TTL > 0 && left.TTL <= 60)
	listed := false
	for _, one := range must(s.Leases(s)).Leases {
		listed = listed || one.ID == lease.ID
	}
	holds("it is listed", listed)
	must(s.Revoke(s, lease.ID))
	same("its key is gone", must(s.Get(s, "go/leased")).Count, int64(0))
	same("nothing is left", must(s.TimeToLive(s, lease.ID)).TTL, int64(-1))
	_, err := s.Revoke(s, lease.ID)
	refused("revoked again", err, rpctypes.ErrLeaseNotFound.Error())
	_, err = s.KeepAliveOnce(s, lease.ID)
	refused("kept alive again", err, rpctypes.ErrLeaseNotFound.Error())
	_, err = s.Put(s, "go/leased", "x", clientv3.WithLease(lease.ID))
	refused("put again", err, rpctypes.ErrLeaseNotFound.Error())

	short := must(s.Grant(s, 2))
	put := must(s.Put(s, "go/short", "x", clientv3.WithLease(short.ID)))
	began := time.Now()
	watch := s.Watch(s, "go/short", clientv3.WithRev(put.Header.Revision+1))
	same("a lease that nobody keeps alive ends", s.collect(watch, 1), "delete go/short")
	holds("not before its time", time.Since(began) > 1500*time.Millisecond)
}
