// Program reference sends the same requests to two clusters, of which one is etcd, and compares the answers field by
// field: errors by code and text, streams by what they delivered in which order. What must differ (ids, terms, tokens,
// sizes) is masked. Differences are printed with the request; the run fails unless allowed.txt has each of them, with
// its reason.
//
// Both clusters must be new: revisions are compared as they are.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func main() {
	model := flag.String("model", "", "endpoints of etcd")
	tested := flag.String("tested", "", "endpoints of the cluster in question")
	version := flag.String("version", "3.5", "the version of etcd, for which allowed.txt lists differences")
	seed := flag.Int64("seed", 1, "what the requests are drawn from")
	requests := flag.Int("requests", 4000, "how many requests are drawn")
	scenarios := flag.Int("watches", 24, "how many watch scenarios are drawn")
	only := flag.String("only", "", "run only this part")
	flag.Parse()

	r := &run{fragile: *version == "3.5", requests: *requests, scenarios: *scenarios, rand: rand.New(rand.NewSource(*seed))}
	var err error
	if r.model, err = connect("etcd", *model); err == nil {
		r.tested, err = connect("tested", *tested)
	}
	if err == nil {
		r.allowed, err = allowedFor(*version)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(2)
	}
	for _, part := range []struct {
		name string
		run  func(*run)
	}{
		{"watch", watchScenarios}, {"kv", generated}, {"lock and election", locks}, {"malformed", malformed},
		{"http", pages}, {"auth", authorization}, {"cluster", clusterErrors},
	} {
		if *only != "" && *only != part.name || len(r.different) > enough {
			continue
		}
		began, before := time.Now(), r.compared
		part.run(r)
		fmt.Printf("%s: %d answers compared, %.1f s\n", part.name, r.compared-before, time.Since(began).Seconds())
	}
	os.Exit(r.verdict(*seed))
}

// enough differences end the run: after so many, what follows mostly differs because of what went before.
const enough = 300

// run is the state of one comparison.
type run struct {
	model, tested       *target
	rand                *rand.Rand
	requests, scenarios int
	fragile             bool
	allowed             []allowance
	compared            int
	expected            map[string]int
	different           []difference
}

type difference struct{ kind, asked, model, tested string }

var number = regexp.MustCompile("-?[0-9]+")

// gist tells errors apart, but not one good answer from another.
func gist(answer string) string {
	if strings.HasPrefix(answer, "{") || strings.HasPrefix(answer, "HTTP 200 ") {
		return "good"
	}
	return number.ReplaceAllString(answer, "N")
}

// both sends a step to both clusters and compares the answers. It returns etcd's.
func (r *run) both(s step) string {
	ask := func() (string, string) {
		var model, tested string
		var wait sync.WaitGroup
		wait.Go(func() { model = r.model.ask(s) })
		wait.Go(func() { tested = r.tested.ask(s) })
		wait.Wait()
		return model, tested
	}
	model, tested := ask()
	for range 10 {
		if model == tested || !s.again || len(r.different) > 20 {
			break
		}
		time.Sleep(30 * time.Millisecond)
		model, tested = ask()
	}
	equal := r.compare(s.method, s.String(), model, tested)
	half := r.fragile && strings.HasSuffix(s.method, "/Txn") && gist(model) != "good"
	if strings.HasPrefix(s.method, "/etcdserverpb.KV/") && (!equal || half) {
		r.level()
	}
	return model
}

// level brings both stores to the same state again, so that a request that had two outcomes is reported once and not with
// everything that comes after it: no key, no lease, and the same revision.
func (r *run) level() {
	all := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}
	model, tested := r.model.ask(step{method: "/etcdserverpb.KV/Range", request: all}), r.tested.ask(step{method: "/etcdserverpb.KV/Range", request: all})
	if model == tested {
		return
	}
	put := step{method: "/etcdserverpb.KV/Put", request: &pb.PutRequest{Key: []byte("level")}}
	for _, side := range []*target{r.model, r.tested} {
		for range max(revisionOf(model), revisionOf(tested)) + 1 - revisionOf(side.ask(step{method: "/etcdserverpb.KV/Range", request: all})) {
			side.ask(put)
		}
		side.ask(step{method: "/etcdserverpb.KV/DeleteRange", request: &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}})
	}
}

// compare counts two answers, and keeps them if they differ and nothing allows that. It tells whether they are equal.
func (r *run) compare(kind, asked, model, tested string) bool {
	r.compared++
	if model == tested {
		return true
	}
	for _, a := range r.allowed {
		if a.covers(kind, model, tested) {
			if r.expected == nil {
				r.expected = map[string]int{}
			}
			r.expected[a.reason]++
			return false
		}
	}
	r.different = append(r.different, difference{kind, asked, model, tested})
	return false
}

// verdict prints the differences, a few of each kind, and says how the program shall end.
func (r *run) verdict(seed int64) int {
	var reasons []string
	for reason, times := range r.expected {
		reasons = append(reasons, fmt.Sprintf("allowed %d times: %s", times, reason))
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Println(reason)
	}
	shown := map[string]int{}
	for _, d := range r.different {
		kind := d.kind + gist(d.model) + gist(d.tested)
		if shown[kind]++; shown[kind] <= 2 {
			fmt.Printf("\nDIFFERENCE: %s\n  etcd answers:   %s\n  tested answers: %s\n", d.asked, d.model, d.tested)
		}
	}
	fmt.Printf("\nreference: %d answers compared, %d differ (seed %d)\n", r.compared, len(r.different), seed)
	if len(r.different) > 0 || r.compared == 0 {
		return 1
	}
	return 0
}
