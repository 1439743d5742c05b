package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func (s *session) open() *concurrency.Session {
	return must(concurrency.NewSession(s.Client, concurrency.WithTTL(20)))
}

func mutexes(s *session) {
	one, other := s.open(), s.open()
	defer one.Close()
	held, wanted := concurrency.NewMutex(one, "go/mutex"), concurrency.NewMutex(other, "go/mutex")
	fine(held.Lock(s))
	// A transaction without operations would be answered locally, by a member that may not know yet.
	holds("the holder knows", must(s.Txn(s).If(held.IsOwner()).Then(clientv3.OpGet(held.Key())).Commit()).Succeeded)
	if err := wanted.TryLock(s); !errors.Is(err, concurrency.ErrLocked) {
		panic(unexpected(fmt.Sprintf("a held mutex: got %v", err)))
	}
	got := make(chan error, 1)
	go func() { got <- wanted.Lock(s) }()
	select {
	case <-got:
		panic(unexpected("two hold the same mutex"))
	case <-time.After(300 * time.Millisecond):
	}
	fine(held.Unlock(s))
	fine(<-got)
	// The session ends, and the mutex is free again.
	fine(other.Close())
	fine(held.Lock(s))
	fine(held.Unlock(s))

	count := 0
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			session := must(concurrency.NewSession(s.Client))
			defer session.Close()
			mutex := concurrency.NewMutex(session, "go/counter")
			for range 5 {
				fine(mutex.Lock(s))
				count++
				fine(mutex.Unlock(s))
			}
		})
	}
	wait.Wait()
	same("counted under a mutex", count, 20)
}

func elections(s *session) {
	one, other := s.open(), s.open()
	defer one.Close()
	first, second := concurrency.NewElection(one, "go/office"), concurrency.NewElection(other, "go/office")
	_, err := first.Leader(s)
	refused("nobody leads", err, concurrency.ErrElectionNoLeader.Error())
	fine(first.Campaign(s, "one"))
	same("who leads", string(must(second.Leader(s)).Kvs[0].Value), "one")
	ctx, cancel := context.WithCancel(s)
	defer cancel()
	observed := second.Observe(ctx)
	same("observed", string((<-observed).Kvs[0].Value), "one")
	fine(first.Proclaim(s, "one again"))
	same("observed anew", string((<-observed).Kvs[0].Value), "one again")
	won := make(chan error, 1)
	go func() { won <- second.Campaign(s, "other") }()
	time.Sleep(200 * time.Millisecond)
	fine(first.Resign(s))
	fine(<-won)
	for response := range observed {
		if string(response.Kvs[0].Value) == "other" {
			break
		}
	}
	resumed := concurrency.ResumeElection(other, "go/office", second.Key(), second.Rev())
	fine(resumed.Proclaim(s, "resumed"))
	fine(other.Close())
	_, err = first.Leader(s)
	refused("after the session's end", err, concurrency.ErrElectionNoLeader.Error())
}

// memory moves money between accounts in transactions that are tried again until they fit.
func memory(s *session) {
	// At one member: a transaction reads locally at the revision that it has seen, which another member may not have yet.
	client := must(clientv3.New(clientv3.Config{Endpoints: s.endpoints[:1], DialTimeout: patience}))
	defer client.Close()
	for i := range 5 {
		must(s.Put(s, fmt.Sprintf("go/account/%d", i), "100"))
	}
	for _, isolation := range []concurrency.Isolation{
		concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads,
	} {
		var wait sync.WaitGroup
		for worker := range 4 {
			wait.Go(func() {
				for round := range 5 {
					from, to := fmt.Sprintf("go/account/%d", (worker+round)%5), fmt.Sprintf("go/account/%d", (worker+round+1)%5)
					must(concurrency.NewSTM(client, func(stm concurrency.STM) error {
						var a, b int
						fmt.Sscan(stm.Get(from), &a)
						fmt.Sscan(stm.Get(to), &b)
						stm.Put(from, fmt.Sprint(a-7))
						stm.Put(to, fmt.Sprint(b+7))
						return nil
					}, concurrency.WithIsolation(isolation)))
				}
			})
		}
		wait.Wait()
		total := 0
		for _, kv := range must(s.Get(s, "go/account/", clientv3.WithPrefix())).Kvs {
			var amount int
			fmt.Sscan(string(kv.Value), &amount)
			total += amount
		}
		same("the sum stays", total, 500)
	}
}
