package main

import (
	"context"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// pages asks over plain HTTP: JSON that is none or means nothing, paths that are not there, probes.
func pages(r *run) {
	ask := func(verb, path, body string) {
		post := func(t *target) string {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return t.post(ctx, 0, verb, path, body, "", &pb.RangeRequest{})
		}
		r.compare("http "+verb+" "+path, fmt.Sprintf("%s %s %.200s", verb, path, body), post(r.model), post(r.tested))
	}
	for _, body := range []string{
		"", "{", "[]", "null", "7", `"x"`, `{}`, `{"key":7}`, `{"key":"not base64!"}`, `{"key":"YQ"}`, `{"key":"YQ=="}`, `{"key":"YQ==","limit":"many"}`,
		`{"key":"YQ==","limit":"7"}`, `{"key":"YQ==","limit":7}`, `{"key":"YQ==","limit":7.5}`, `{"key":"YQ==","rangeEnd":"AA=="}`,
		`{"key":"YQ==","range_end":"AA=="}`, `{"key":"YQ==","unheard_of":1}`, `{"key":"YQ==","sort_order":"DESCEND","sort_target":"MOD"}`,
		`{"key":"YQ==","sort_order":2}`, `{"key":"YQ==","sort_order":"SIDEWAYS"}`, `{"key":"YQ==","sort_order":17}`, `{"key":"YQ==","revision":"99999999"}`,
		`{"key":"YQ==","serializable":"yes"}`, `{"key":"YQ==","serializable":true}`, `{"key":null}`, `{"key":"_-8="}`, `{"key":"YQ=="} {"key":"Yg=="}`,
		`{"key":"YQ==","count_only":true}`, `{"key":"YQ==","key":"Yg=="}`,
	} {
		ask("POST", "/v3/kv/range", body)
	}
	for _, body := range []string{
		`{}`, `{"compare":[{"key":"YQ==","target":"VALUE","value":"MQ=="}],"success":[{"request_range":{"key":"YQ=="}}],"failure":[{"requestRange":{"key":"Yg=="}}]}`,
		`{"success":[{}]}`, `{"success":[{"request_put":{"key":""}}]}`, `{"success":{}}`, `{"compare":[{"key":"YQ==","result":"NOT_EQUAL","target":"LEASE","lease":"3"}]}`,
		`{"success":[{"request_range":{"key":"YQ=="},"request_put":{"key":"YQ=="}}]}`,
	} {
		ask("POST", "/v3/kv/txn", body)
	}
	for _, path := range []string{"/v3/kv/put", "/v3/kv/deleterange", "/v3/kv/compaction", "/v3/kv/lease/timetolive", "/v3/lease/revoke",
		"/v3/kv/lease/revoke", "/v3/lease/timetolive", "/v3beta/kv/range", "/v3/kv/nothing", "/v3", "/v3/", "/v2/keys", "/nothing", "/"} {
		ask("POST", path, `{}`)
		ask("POST", path, `{"ID":"77","TTL":"x"}`)
		ask("GET", path, "")
	}
	for _, path := range []string{"/health", "/health?serializable=true", "/health?exclude=NOSPACE", "/health?serializable=perhaps"} {
		ask("GET", path, "")
		ask("POST", path, "")
	}
	ask("PUT", "/v3/kv/range", `{"key":"YQ=="}`)
	ask("DELETE", "/v3/kv/range", `{"key":"YQ=="}`)
	ask("POST", "/v3/kv/range", strings.Repeat("[", 20_000))
	ask("POST", "/v3/lease/keepalive", `{"ID":"12345"}`)
	ask("GET", "/version", "")
	ask("POST", "/version", "")
}
