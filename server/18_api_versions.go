package server

import (
	"cmp"
	"context"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var apiVersions = register(api{key: kmsg.ApiVersions, min: 0, max: 4, handle: handleApiVersions})

// softwareName is what client software may call itself (KIP-511), its version too.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// metadataVersion is the feature level that tools read as "Kafka 4.3". transaction.version and group.version are not finalized, so that
// clients do not use what a later release brings (TV2 transactions, KIP-848 groups).
const (
	metadataVersionMin = 7
	metadataVersion    = 30
)

func handleApiVersions(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	if req.Version >= 3 && !(softwareName.MatchString(req.ClientSoftwareName) && softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return answer(resp)
	}
	for key, a := range registry {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key, MinVersion: a.min, MaxVersion: a.max})
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{
		{Name: "metadata.version", MinVersion: metadataVersionMin, MaxVersion: metadataVersion},
	}
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{
		{Name: "metadata.version", MinVersionLevel: metadataVersion, MaxVersionLevel: metadataVersion},
	}
	resp.FinalizedFeaturesEpoch = max(s.cfg.Image().Version, 0)
	return answer(resp)
}
