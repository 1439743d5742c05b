// Program applications uses a cluster as Go programs do: through etcd's own client package, with its concurrency, leasing,
// mirror, namespace and naming packages. Every answer is checked; the first wrong one ends the program.
//
// It changes the cluster's members and turns auth on and off, so it wants a cluster of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// patience bounds each part.
const patience = 40 * time.Second

// session is one part's client and endpoints.
type session struct {
	context.Context
	*clientv3.Client
	endpoints []string
}

func main() {
	endpoints := flag.String("endpoints", os.Getenv("ENDPOINTS"), "where the members serve clients")
	only := flag.String("only", "", "run only this part")
	flag.Parse()
	wrong := 0
	for _, part := range []struct {
		name string
		run  func(*session)
	}{
		{"kv", keyValues}, {"txn", transactions}, {"watch", watches}, {"lease", leases}, {"mutex", mutexes}, {"election", elections},
		{"stm", memory}, {"leasing", leasingKV}, {"mirror", mirrored}, {"namespace", namespaces}, {"naming", names},
		{"ordering", ordered}, {"maintenance", maintenance}, {"cluster", members}, {"auth", auth},
	} {
		if *only != "" && *only != part.name {
			continue
		}
		began := time.Now()
		if err := attempt(strings.Split(*endpoints, ","), part.run); err != nil {
			fmt.Printf("%s: WRONG: %v\n", part.name, err)
			wrong++
			continue
		}
		fmt.Printf("%s: ok, %.1f s\n", part.name, time.Since(began).Seconds())
	}
	if wrong > 0 {
		os.Exit(1)
	}
	fmt.Println("Go client: everything as expected")
}

// unexpected is what a check panics with; attempt makes an error of it.
type unexpected string

func attempt(endpoints []string, run func(*session)) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience})
	if err != nil {
		return err
	}
	defer client.Close()
	defer func() {
		if found := recover(); found != nil {
			text, ok := found.(unexpected)
			if !ok {
				panic(found)
			}
			err = fmt.Errorf("%s", string(text))
		}
	}()
	s := &session{ctx, client, endpoints}
	_, err = client.Delete(ctx, "go/", clientv3.WithPrefix())
	fine(err)
	run(s)
	return nil
}

// fine checks that a call succeeded.
func fine(err error) {
	if err != nil {
		panic(unexpected("unexpected error: " + err.Error() + caller()))
	}
}

// must is for calls with an answer.
func must[T any](value T, err error) T {
	fine(err)
	return value
}

// same checks a value.
func same[T comparable](what string, got, want T) {
	if got != want {
		panic(unexpected(fmt.Sprintf("%s: got %v, want %v", what, got, want)))
	}
}

func holds(what string, is bool) {
	if !is {
		panic(unexpected(what + ": does not hold"))
	}
}

// refused checks that a call failed with the text that belongs to it.
func refused(what string, err error, text string) {
	if err == nil || !strings.Contains(err.Error(), text) {
		panic(unexpected(fmt.Sprintf("%s: got error %v, want %q", what, err, text)))
	}
}

// caller names the line of the check.
func caller() string {
	for depth := 2; ; depth++ {
		_, file, line, ok := runtime.Caller(depth)
		if !ok || !strings.HasSuffix(file, "main.go") {
			return fmt.Sprintf(" (%s:%d)", filepath.Base(file), line)
		}
	}
}
