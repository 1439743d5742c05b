package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func maintenance(s *session) {
	must(s.Put(s, "go/saved", "yes"))
	var leader uint64
	for _, endpoint := range s.endpoints {
		status := must(s.Status(s, endpoint))
		holds("there is a leader", status.Leader != 0 && (leader == 0 || leader == status.Leader))
		holds("sizes", status.DbSize > 0 && status.DbSizeInUse > 0 && status.RaftIndex > 0 && status.RaftAppliedIndex > 0)
		same("errors", len(status.Errors), 0)
		leader = status.Leader
	}
	same("no alarm", len(must(s.AlarmList(s)).Alarms), 0)

	revision := must(s.Get(s, "go/saved")).Header.Revision
	hashes := map[uint32]bool{}
	for _, endpoint := range s.endpoints {
		deadline := time.Now().Add(5 * time.Second)
		for must(s.Get(s, "go/saved", clientv3.WithSerializable())).Header.Revision < revision && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
		}
		hashes[must(s.HashKV(s, endpoint, revision)).Hash] = true
	}
	same("all have the same hash", len(hashes), 1)

	reader := must(s.Snapshot(s))
	image := must(io.ReadAll(reader))
	fine(reader.Close())
	same("a snapshot ends with its digest", len(image)%512, sha256.Size)
	digest := sha256.Sum256(image[:len(image)-sha256.Size])
	holds("which is right", bytes.Equal(digest[:], image[len(image)-sha256.Size:]))
	holds("it has what was put", bytes.Contains(image, []byte("go/saved")))
	versioned := must(s.SnapshotWithVersion(s))
	must(io.Copy(io.Discard, versioned.Snapshot))
	fine(versioned.Snapshot.Close())
	must(s.Defragment(s, s.endpoints[0]))

	for _, endpoint := range s.endpoints {
		status := must(s.Status(s, endpoint))
		if status.Header.MemberId != leader {
			continue
		}
		client := must(clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: patience}))
		defer client.Close()
		_, err := client.MoveLeader(s, 5)
		refused("leadership for nobody", err, rpctypes.ErrBadLeaderTransferee.Error())
		for _, member := range must(s.MemberList(s)).Members {
			if member.ID != leader {
				must(client.MoveLeader(s, member.ID))
				same("leadership moved", s.leaderAfter(endpoint, leader), member.ID)
				break
			}
		}
		_, err = client.MoveLeader(s, leader)
		refused("by one that does not lead", err, rpctypes.ErrNotLeader.Error())
		return
	}
	panic(unexpected("no endpoint leads"))
}

// leaderAfter waits until a member no longer leads, and tells who does.
func (s *session) leaderAfter(endpoint string, before uint64) uint64 {
	for {
		if leader := must(s.Status(s, endpoint)).Leader; leader != before && leader != 0 {
			return leader
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func members(s *session) {
	count := len(must(s.MemberList(s)).Members)
	added, err := s.MemberAddAsLearner(s, []string{"http://127.0.0.1:9"})
	for err != nil && strings.Contains(err.Error(), "unhealthy cluster") {
		time.Sleep(500 * time.Millisecond) // the leader is new: it has to be in touch with all for five seconds
		added, err = s.MemberAddAsLearner(s, []string{"http://127.0.0.1:9"})
	}
	fine(err)
	holds("it learns", added.Member.IsLearner)
	same("one more", len(added.Members), count+1)
	_, err = s.MemberAddAsLearner(s, []string{"http://127.0.0.1:9", "http://127.0.0.1:11"})
	refused("a peer URL twice", err, rpctypes.ErrPeerURLExist.Error())
	_, err = s.MemberPromote(s, added.Member.ID)
	refused("promoted before it has learned", err, rpctypes.ErrMemberLearnerNotReady.Error())
	must(s.MemberUpdate(s, added.Member.ID, []string{"http://127.0.0.1:10"}))
	for _, member := range must(s.MemberList(s)).Members {
		if member.ID == added.Member.ID {
			same("its new URL", member.PeerURLs[0], "http://127.0.0.1:10")
		}
	}
	same("one less", len(must(s.MemberRemove(s, added.Member.ID)).Members), count)
	_, err = s.MemberRemove(s, added.Member.ID)
	refused("removed again", err, rpctypes.ErrMemberNotFound.Error())
	fine(s.Sync(s))
	same("endpoints by Sync", len(s.Endpoints()), count)
}
