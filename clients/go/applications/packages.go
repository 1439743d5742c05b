package main

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	"go.etcd.io/etcd/client/v3/ordering"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func leasingKV(s *session) {
	one, closeOne, err := leasing.NewKV(s.Client, "go/leasing/")
	fine(err)
	defer closeOne()
	other, closeOther, err := leasing.NewKV(s.Client, "go/leasing/")
	fine(err)
	defer closeOther()
	must(one.Put(s, "go/l", "1"))
	same("owned and cached", string(must(one.Get(s, "go/l")).Kvs[0].Value), "1")
	same("cached again", string(must(one.Get(s, "go/l")).Kvs[0].Value), "1")
	must(other.Put(s, "go/l", "2")) // takes the key from its owner
	same("what the other has put", string(must(one.Get(s, "go/l")).Kvs[0].Value), "2")
	answer := must(one.Txn(s).If(clientv3.Compare(clientv3.Value("go/l"), "=", "2")).Then(clientv3.OpPut("go/l", "3")).Commit())
	holds("a transaction on what is cached", answer.Succeeded)
	must(one.Delete(s, "go/l"))
	same("deleted", len(must(other.Get(s, "go/l")).Kvs), 0)
}

func mirrored(s *session) {
	for _, key := range []string{"go/m/1", "go/m/2", "go/m/3"} {
		must(s.Put(s, key, key))
	}
	ctx, cancel := context.WithCancel(s)
	defer cancel()
	syncer := mirror.NewSyncer(s.Client, "go/m/", 0)
	base, failed := syncer.SyncBase(ctx)
	copied := map[string]bool{}
	for response := range base {
		for _, kv := range response.Kvs {
			copied[string(kv.Key)] = true
		}
	}
	fine(<-failed)
	same("copied", len(copied), 3)
	updates := syncer.SyncUpdates(ctx)
	must(s.Put(s, "go/m/4", "later"))
	same("and followed", s.collect(updates, 1), "put go/m/4 later")
}

func namespaces(s *session) {
	kv, watcher := namespace.NewKV(s.KV, "go/space/"), namespace.NewWatcher(s.Watcher, "go/space/")
	watch := watcher.Watch(s, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	s.next(watch)
	must(kv.Put(s, "key", "value"))
	same("seen from within", string(must(kv.Get(s, "key")).Kvs[0].Key), "key")
	same("seen from without", string(must(s.Get(s, "go/space/key")).Kvs[0].Value), "value")
	same("watched from within", s.collect(watch, 1), "put key value")
	must(s.Put(s, "go/spacf", "outside"))
	same("all that is in it", must(kv.Get(s, "\x00", clientv3.WithFromKey())).Count, int64(1))
}

func names(s *session) {
	manager := must(endpoints.NewManager(s.Client, "go/service"))
	updates := must(manager.NewWatchChannel(s))
	address := strings.TrimPrefix(s.endpoints[0], "http://")
	fine(manager.AddEndpoint(s, "go/service/one", endpoints.Endpoint{Addr: address}))
	same("an update", (<-updates)[0].Endpoint.Addr, address)
	for len(must(manager.List(s))) == 0 {
		time.Sleep(20 * time.Millisecond) // a list is read locally, at any member
	}
	// A connection by name, over the resolver, to something that answers: the member itself.
	builder := must(resolver.NewBuilder(s.Client))
	conn := must(grpc.NewClient("etcd:///go/service", grpc.WithResolvers(builder), grpc.WithAuthority(address),
		grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer conn.Close()
	answer := must(grpc_health_v1.NewHealthClient(conn).Check(s, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)))
	same("found by name", answer.Status, grpc_health_v1.HealthCheckResponse_SERVING)
	fine(manager.DeleteEndpoint(s, "go/service/one"))
	same("taken away", (<-updates)[0].Op, endpoints.Delete)
}

// ordered reads through a client that never goes back in time, though it changes members.
func ordered(s *session) {
	client := must(clientv3.New(clientv3.Config{Endpoints: s.endpoints, DialTimeout: patience}))
	defer client.Close()
	kv := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	must(kv.Put(s, "go/order", "1"))
	must(kv.Get(s, "go/order"))
	for range 20 {
		same("never older", string(must(kv.Get(s, "go/order", clientv3.WithSerializable())).Kvs[0].Value), "1")
		time.Sleep(5 * time.Millisecond)
	}
}
