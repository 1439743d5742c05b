// Program exposition reads /metrics of each member with Prometheus' own parser, and checks what a scraper relies on: each
// family has a type and a help text, histograms are whole, counters do not fall, and etcd's names are there.
package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// names are those that etcd's dashboard and alert rules ask for.
var names = strings.Fields(`
etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total
etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total etcd_server_quota_backend_bytes
etcd_disk_wal_fsync_duration_seconds etcd_disk_backend_commit_duration_seconds etcd_mvcc_db_total_size_in_bytes
etcd_mvcc_db_total_size_in_use_in_bytes etcd_network_client_grpc_sent_bytes_total etcd_network_client_grpc_received_bytes_total
etcd_network_peer_sent_bytes_total etcd_network_peer_received_bytes_total
grpc_server_started_total grpc_server_handled_total process_resident_memory_bytes process_open_fds process_max_fds`)

func main() {
	failed := false
	for _, endpoint := range strings.Split(os.Getenv("ENDPOINTS"), ",") {
		before, err := scrape(endpoint)
		if err == nil {
			err = check(endpoint, before)
		}
		if err != nil {
			fmt.Printf("metrics of %s: WRONG: %v\n", endpoint, err)
			failed = true
			continue
		}
		fmt.Printf("metrics: %d families, as expected\n", len(before))
	}
	if failed {
		os.Exit(1)
	}
}

func scrape(endpoint string) (map[string]*dto.MetricFamily, error) {
	response, err := http.Get(endpoint + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		return nil, fmt.Errorf("content type %q", kind)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(strings.NewReader(string(text)))
}

func check(endpoint string, families map[string]*dto.MetricFamily) error {
	for _, name := range names {
		if families[name] == nil {
			return fmt.Errorf("no %s", name)
		}
	}
	for name, family := range families {
		if family.GetHelp() == "" || family.GetType() == dto.MetricType_UNTYPED {
			return fmt.Errorf("%s has no help text or no type", name)
		}
		for _, metric := range family.Metric {
			if err := whole(name, metric.GetHistogram()); err != nil {
				return err
			}
		}
	}
	after, err := scrape(endpoint)
	if err != nil {
		return err
	}
	for name, family := range families {
		if family.GetType() == dto.MetricType_COUNTER && total(after[name]) < total(family) {
			return fmt.Errorf("counter %s fell", name)
		}
	}
	return nil
}

// whole checks that a histogram's buckets rise, and end with all there is.
func whole(name string, histogram *dto.Histogram) error {
	if histogram == nil {
		return nil
	}
	last := uint64(0)
	for _, bucket := range histogram.Bucket {
		if bucket.GetCumulativeCount() < last {
			return fmt.Errorf("%s: a bucket is less than the one before", name)
		}
		last = bucket.GetCumulativeCount()
	}
	if n := len(histogram.Bucket); n == 0 || !math.IsInf(histogram.Bucket[n-1].GetUpperBound(), 1) || last != histogram.GetSampleCount() {
		return fmt.Errorf("%s: no last bucket with all samples", name)
	}
	return nil
}

func total(family *dto.MetricFamily) float64 {
	sum := 0.0
	for _, metric := range family.GetMetric() {
		sum += metric.GetCounter().GetValue()
	}
	return sum
}
