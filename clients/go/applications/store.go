package main

import (
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func keyValues(s *session) {
	for i := range 10 {
		must(s.Put(s, fmt.Sprintf("go/%d", i), fmt.Sprint(i)))
	}
	put := must(s.Put(s, "go/3", "new", clientv3.WithPrevKV()))
	same("the value before", string(put.PrevKv.Value), "3")
	get := must(s.Get(s, "go/3"))
	same("version", get.Kvs[0].Version, int64(2))
	same("value at an earlier revision", string(must(s.Get(s, "go/3", clientv3.WithRev(put.Header.Revision-1))).Kvs[0].Value), "3")

	page := must(s.Get(s, "go/", clientv3.WithPrefix(), clientv3.WithLimit(3), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)))
	same("first of the page", string(page.Kvs[0].Key), "go/9")
	same("count", page.Count, int64(10))
	holds("there is more", page.More)
	same("range by end", len(must(s.Get(s, "go/2", clientv3.WithRange("go/5"))).Kvs), 3)
	same("from a key on", len(must(s.Get(s, "go/7", clientv3.WithFromKey(), clientv3.WithRange("go0"))).Kvs), 3)
	same("keys only", len(must(s.Get(s, "go/3", clientv3.WithKeysOnly())).Kvs[0].Value), 0)
	same("count only", len(must(s.Get(s, "go/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Kvs), 0)
	same("last revision", string(must(s.Get(s, "go/", clientv3.WithLastRev()...)).Kvs[0].Key), "go/3")
	same("first created", string(must(s.Get(s, "go/", clientv3.WithFirstCreate()...)).Kvs[0].Key), "go/0")
	same("by lowest mod revision", len(must(s.Get(s, "go/", clientv3.WithPrefix(), clientv3.WithMinModRev(put.Header.Revision))).Kvs), 1)
	same("serializable", string(must(s.Get(s, "go/3", clientv3.WithSerializable())).Kvs[0].Key), "go/3")

	must(s.Put(s, "go/3", "", clientv3.WithIgnoreLease()))
	must(s.Put(s, "go/3", "", clientv3.WithIgnoreValue()))
	_, err := s.Put(s, "", "x")
	refused("put without a key", err, rpctypes.ErrEmptyKey.Error())
	_, err = s.Put(s, "go/none", "", clientv3.WithIgnoreValue())
	refused("put that keeps the value of nothing", err, rpctypes.ErrKeyNotFound.Error())
	_, err = s.Put(s, "go/large", strings.Repeat("x", 1_600_000))
	refused("put of too much", err, "request is too large")
	_, err = s.Get(s, "go/3", clientv3.WithRev(1<<50))
	refused("a future revision", err, rpctypes.ErrFutureRev.Error())

	deleted := must(s.Delete(s, "go/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	same("deleted", deleted.Deleted, int64(10))
	same("with values", len(deleted.PrevKvs), 10)
	must(s.Compact(s, deleted.Header.Revision, clientv3.WithCompactPhysical()))
	_, err = s.Get(s, "go/3", clientv3.WithRev(put.Header.Revision))
	refused("a compacted revision", err, rpctypes.ErrCompacted.Error())
	_, err = s.Compact(s, 1)
	refused("compaction once more", err, rpctypes.ErrCompacted.Error())
	must(s.Do(s, clientv3.OpPut("go/op", "x")))
	same("by operation", must(s.Do(s, clientv3.OpGet("go/op"))).Get().Count, int64(1))
}

func transactions(s *session) {
	create := func() *clientv3.TxnResponse {
		return must(s.Txn(s).If(clientv3.Compare(clientv3.CreateRevision("go/once"), "=", 0)).
			Then(clientv3.OpPut("go/once", "first")).Else(clientv3.OpGet("go/once")).Commit())
	}
	holds("the first creates", create().Succeeded)
	second := create()
	holds("the second does not", !second.Succeeded)
	same("and reads", string(second.Responses[0].GetResponseRange().Kvs[0].Value), "first")
	nested := must(s.Txn(s).If(clientv3.Compare(clientv3.Value("go/once"), "=", "first"), clientv3.Compare(clientv3.Version("go/once"), "<", 2)).
		Then(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue("go/once"), "=", 0)},
			[]clientv3.Op{clientv3.OpPut("go/inner", "yes"), clientv3.OpGet("go/inner")}, nil)).Commit())
	inner := nested.Responses[0].GetResponseTxn()
	same("an inner txn sees its own writes", string(inner.Responses[1].GetResponseRange().Kvs[0].Value), "yes")
	holds("each key of a range", must(s.Txn(s).If(clientv3.Compare(clientv3.ModRevision("go/"), ">", 1).WithPrefix()).Commit()).Succeeded)
	_, err := s.Txn(s).Then(clientv3.OpPut("go/a", "1"), clientv3.OpPut("go/a", "2")).Commit()
	refused("the same key twice", err, rpctypes.ErrDuplicateKey.Error())
	var many []clientv3.Op
	for i := range 129 {
		many = append(many, clientv3.OpPut(fmt.Sprintf("go/many/%d", i), "x"))
	}
	_, err = s.Txn(s).Then(many...).Commit()
	refused("too many operations", err, rpctypes.ErrTooManyOps.Error())
	must(s.Txn(s).Then(many[:128]...).Commit())
	same("all in one revision", must(s.Get(s, "go/many/0")).Kvs[0].ModRevision, must(s.Get(s, "go/many/127")).Kvs[0].ModRevision)
}
