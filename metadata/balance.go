package metadata

import (
	"bytes"
	"cmp"
	"slices"
)

// electionsPerBalance bounds the elections of one pass of the balance, as Kafka does.
const electionsPerBalance = 1000

// Imbalanced returns partitions, at most limit, whose preferred leader should lead again. These are the partitions of
// the brokers that lead too few of those that prefer them: more than percentage of 100 are led by others. Partitions
// whose preferred leader cannot lead now count, but are not returned; those that are being reassigned do neither.
func Imbalanced(im *Image, percentage, limit int) []TopicPartition {
	type share struct {
		preferred, elsewhere int
		movable              []TopicPartition
	}
	shares := map[BrokerID]*share{}
	for _, t := range im.Topics {
		for _, p := range t.Partitions {
			if p.Reassigning() {
				continue
			}
			first := p.Replicas[0]
			s := shares[first]
			if s == nil {
				s = &share{}
				shares[first] = s
			}
			s.preferred++
			if p.Leader == first {
				continue
			}
			s.elsewhere++
			if slices.Contains(p.ISR, first) && Electable(p, 0, im.Brokers) {
				s.movable = append(s.movable, p.TopicPartition)
			}
		}
	}
	var out []TopicPartition
	for _, s := range shares {
		if s.elsewhere*100 > s.preferred*percentage {
			out = append(out, s.movable...)
		}
	}
	slices.SortFunc(out, func(a, b TopicPartition) int {
		return cmp.Or(bytes.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	return out[:min(len(out), limit)]
}
