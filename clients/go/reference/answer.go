package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// masked are the fields that differ between two clusters though both are right. Whether they are set at all still counts.
var masked = map[string]bool{
	"cluster_id": true, "member_id": true, "raft_term": true, "memberID": true, "token": true, "version": true,
	"dbSize": true, "dbSizeInUse": true, "dbSizeQuota": true, "leader": true, "raftIndex": true, "raftTerm": true,
	"raftAppliedIndex": true, "storageVersion": true, "hash": true, "downgradeInfo": true,
}

// byteFields are shown as text instead of base64.
var byteFields = map[string]bool{"key": true, "value": true, "range_end": true}

func readable(message proto.Message) string {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return err.Error()
	}
	var tree any
	if json.Unmarshal(text, &tree) != nil {
		return string(text)
	}
	return short(write(decodeBytes(tree)), 2000)
}

// canonical writes an answer so that two answers are equal if and only if their texts are.
func canonical(answer, asked proto.Message) string {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(answer)
	if err != nil {
		return "cannot be written: " + err.Error()
	}
	return canonicalJSON(text, asked)
}

// canonicalJSON does the same for an answer that came as JSON. What is not JSON is returned as it is.
func canonicalJSON(text []byte, asked proto.Message) string {
	var tree any
	if json.Unmarshal(text, &tree) != nil {
		return string(text)
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return write(tree)
	}
	delete(object, "error") // the old name of `message`, which only 3.5 still writes
	if text, ok := object["message"].(string); ok && object["code"] == 3.0 && !strings.HasPrefix(text, "etcdserver: ") {
		object["message"] = "(why it cannot be read)" // each JSON library says this in its own way
	}
	switch request := asked.(type) {
	case *pb.RangeRequest:
		settleTies(object, request)
	case *pb.TxnRequest:
		settleTxn(object, request)
	case *pb.LeaseTimeToLiveRequest:
		settleTTL(object)
	case *pb.LeaseLeasesRequest, *pb.AuthUserListRequest:
		settleOrder(object, "leases", "users")
	}
	mask(tree, "")
	settleOrder(object, "members") // by id, which is another in each cluster
	return write(decodeBytes(tree))
}

func write(tree any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out.String())
}

func mask(tree any, within string) any {
	switch node := tree.(type) {
	case map[string]any:
		for name, value := range node {
			switch {
			case masked[name] && !(name == "version" && within == "kvs"):
				node[name] = "*"
			case (within == "members" || within == "member") && name != "isLearner":
				node[name] = "*"
			case name == "kv" || name == "prev_kv" || name == "prev_kvs":
				node[name] = mask(value, "kvs")
			default:
				node[name] = mask(value, name)
			}
		}
	case []any:
		for i := range node {
			node[i] = mask(node[i], within)
		}
	}
	return tree
}

func decodeBytes(tree any) any {
	switch node := tree.(type) {
	case map[string]any:
		for name, value := range node {
			text, ok := value.(string)
			if raw, err := base64.StdEncoding.DecodeString(text); ok && err == nil && byteFields[name] {
				node[name] = fmt.Sprintf("%q", raw)
			} else {
				node[name] = decodeBytes(value)
			}
		}
	case []any:
		for i := range node {
			node[i] = decodeBytes(node[i])
		}
	}
	return tree
}

// sortField is the field by which a range was to be sorted; nothing is left open where that is the key.
func sortField(request *pb.RangeRequest) string {
	switch request.SortTarget {
	case pb.RangeRequest_VERSION:
		return "version"
	case pb.RangeRequest_CREATE:
		return "create_revision"
	case pb.RangeRequest_MOD:
		return "mod_revision"
	case pb.RangeRequest_VALUE:
		return "value"
	}
	return ""
}

// settleTies puts keys that are equal by the sort field into the order of their names: etcd's sort is unstable. Where a
// limit cut through such a group, either choice from that group is right, so only its size is kept.
func settleTies(answer map[string]any, request *pb.RangeRequest) {
	field := sortField(request)
	kvs, _ := answer["kvs"].([]any)
	if field == "" || len(kvs) == 0 {
		return
	}
	at := func(i int, name string) any { return kvs[i].(map[string]any)[name] }
	for from := 0; from < len(kvs); {
		to := from
		for to < len(kvs) && reflect.DeepEqual(at(from, field), at(to, field)) {
			to++
		}
		group := kvs[from:to]
		if to == len(kvs) && answer["more"] == true {
			for i := range group {
				group[i] = map[string]any{field: at(from+i, field)}
			}
		}
		sort.SliceStable(group, func(i, j int) bool {
			return fmt.Sprint(group[i].(map[string]any)["key"]) < fmt.Sprint(group[j].(map[string]any)["key"])
		})
		from = to
	}
}

func settleTxn(answer map[string]any, request *pb.TxnRequest) {
	branch := request.Failure
	if answer["succeeded"] == true {
		branch = request.Success
	}
	responses, _ := answer["responses"].([]any)
	for i, response := range responses {
		inner, ok := response.(map[string]any)
		if !ok || i >= len(branch) {
			return
		}
		switch op := branch[i].Request.(type) {
		case *pb.RequestOp_RequestRange:
			if part, ok := inner["response_range"].(map[string]any); ok {
				settleTies(part, op.RequestRange)
			}
		case *pb.RequestOp_RequestTxn:
			if part, ok := inner["response_txn"].(map[string]any); ok {
				settleTxn(part, op.RequestTxn)
			}
		}
	}
}

// settleTTL keeps of the remaining time only whether there is any: seconds pass between the two answers.
func settleTTL(answer map[string]any) {
	if left, ok := answer["TTL"].(string); ok && !strings.HasPrefix(left, "-") && left != "0" {
		answer["TTL"] = "*"
	}
	settleOrder(answer, "keys")
}

func settleOrder(answer map[string]any, names ...string) {
	for _, name := range names {
		if list, ok := answer[name].([]any); ok {
			sort.Slice(list, func(i, j int) bool { return write(list[i]) < write(list[j]) })
		}
	}
}

func short(text string, most int) string {
	if len(text) > most {
		return fmt.Sprintf("%.*s… (%d bytes)", most, text, len(text))
	}
	return text
}
