package main

import (
	"encoding/json"
	"strconv"
	"strings"
)

// generated sends requests drawn from the seed: reads, writes, transactions, compactions and leases.
func generated(r *run) {
	g := &generator{Rand: r.rand, revision: 1, fragile: r.fragile}
	for range r.requests {
		if len(r.different) > enough {
			return
		}
		answer := r.both(g.next(len(r.model.conns)))
		g.revision = max(g.revision, revisionOf(answer))
	}
}

// revisionOf is the revision in an answer's header, 0 where there is none.
func revisionOf(answer string) int64 {
	if at := strings.IndexByte(answer, '{'); at >= 0 {
		answer = answer[at:]
	}
	var head struct {
		Header struct{ Revision string }
	}
	if json.Unmarshal([]byte(answer), &head) != nil {
		return 0
	}
	revision, _ := strconv.ParseInt(head.Header.Revision, 10, 64)
	return revision
}
