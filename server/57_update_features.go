package server

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.UpdateFeatures, min: 0, max: 2, handle: handleUpdateFeatures})

// A feature is a level of behaviour that all brokers of the cluster agree on (KIP-584). Varve serves each at one level.
type feature struct {
	name     string
	min, max int16 // what ApiVersions shows as supported; min is above 0, which clients of ApiVersions v3 cannot take (KAFKA-17011)
	level    int16 // finalized
}

// features are the finalized ones, by name. transaction.version is not among them, so that clients do not use what a later release brings
// (TV2 transactions). group.version 1 is the consumer group protocol (KIP-848). metadata.version is what tools read as "Kafka 4.3".
var features = []feature{
	{"eligible.leader.replicas.version", 1, 1, 1},
	{"group.version", 1, 1, 1},
	{"metadata.version", 7, 30, 30},
}

// The upgrade types of UpdateFeatures.
const (
	upgradeOnly     = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

// handleUpdateFeatures checks what Kafka would check. As no feature has a level but the one it is at, what passes changes nothing.
func handleUpdateFeatures(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.UpdateFeaturesRequest)
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	for _, u := range req.FeatureUpdates {
		kind := u.UpgradeType
		if req.Version == 0 {
			if kind = upgradeOnly; u.AllowDowngrade {
				kind = safeDowngrade
			}
		}
		if why := featureRefusal(s.cfg.Self, u.Feature, u.MaxVersionLevel, kind); why != "" {
			err := refuse(kerr.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: %s", why)
			resp.ErrorCode, resp.ErrorMessage, resp.Results = s.code(err), explain(err), nil
			return answer(resp)
		}
		result := kmsg.NewUpdateFeaturesResponseResult()
		result.Feature = u.Feature
		resp.Results = append(resp.Results, result) // up to v1
	}
	return answer(resp)
}

// featureRefusal says why a feature cannot be set to a level, in Kafka's words; empty: it is there already.
func featureRefusal(self metadata.BrokerID, name string, level int16, kind int8) string {
	invalid := func(format string, args ...any) string {
		return fmt.Sprintf("Invalid update version %d for feature %s. ", level, name) + fmt.Sprintf(format, args...)
	}
	if kind < upgradeOnly || kind > unsafeDowngrade {
		return invalid("The controller does not support the given upgrade type.")
	}
	if level < 0 {
		return invalid("A feature version cannot be less than 0.")
	}
	f, known := findFeature(name)
	switch {
	case !known && level == 0:
		return invalid("Feature %s not found.", name)
	case !known:
		return invalid("Local controller %d does not support this feature.", self)
	case level < f.min || level > f.max:
		return invalid("Local controller %d only supports versions %d-%d", self, f.min, f.max)
	case level < f.level && kind == upgradeOnly:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case level < f.level && kind == safeDowngrade:
		return fmt.Sprintf("Unsupported %s downgrade from %d to %d. Refusing to perform the requested downgrade because it might delete metadata information.",
			name, f.level, level)
	case level < f.level:
		return fmt.Sprintf("Unsupported %s downgrade from %d to %d. Unsafe metadata downgrade is not supported in this version.", name, f.level, level)
	}
	return ""
}

func findFeature(name string) (feature, bool) {
	for _, f := range features {
		if f.name == name {
			return f, true
		}
	}
	return feature{}, false
}
