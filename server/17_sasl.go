package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// On a listener without SASL both APIs are served and refused, as by Kafka: a client that is configured for SASL learns what is wrong.
var (
	_ = register(api{key: kmsg.SASLHandshake, min: 0, max: 1, handle: handleSASLHandshake})
	_ = register(api{key: kmsg.SASLAuthenticate, min: 0, max: 2, handle: handleSASLAuthenticate})
)

func handleSASLHandshake(_ context.Context, _ *Server, _ *request) reply {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	return answer(resp)
}

func handleSASLAuthenticate(_ context.Context, s *Server, _ *request) reply {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	err := refuse(kerr.IllegalSaslState, "SaslAuthenticate request received after successful authentication")
	resp.ErrorCode, resp.ErrorMessage = s.code(err), explain(err)
	return answer(resp)
}
