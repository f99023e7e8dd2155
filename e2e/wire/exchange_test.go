//go:build e2e

package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An exchange is one request to Kafka and what it answered.
type exchange struct {
	name, api, asked, answered string
	keepOpen                   bool   // the next exchange goes on with this connection
	request                    []byte // with the size in front
	response                   []byte // with the size in front; nil when there was none
	silence                    string // why there was none
}

// readExchanges reads testdata/wire/exchanges.txt.
func readExchanges(t *testing.T, path string) []exchange {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var x exchange
		for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "case":
				x.name = value
			case "api":
				x.api = value
			case "asked":
				x.asked = value
			case "answered":
				x.answered = value
			case "then":
				x.keepOpen = true
			case "request":
				x.request = unhex(t, value)
			case "response":
				if strings.HasPrefix(value, "(") {
					x.silence = value
				} else {
					x.response = unhex(t, value)
				}
			}
		}
		all = append(all, x)
	}
	return all
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed says whether the request is a whole frame with a key and a version that Kafka has.
func (x *exchange) framed() bool {
	return len(x.request) >= 14 && !strings.HasPrefix(x.name, "frame-") && !strings.HasPrefix(x.name, "api-versions-v99") &&
		!strings.HasPrefix(x.name, "api-versions-v5")
}

func (x *exchange) key() int16     { return int16(binary.BigEndian.Uint16(x.request[4:])) }
func (x *exchange) version() int16 { return int16(binary.BigEndian.Uint16(x.request[6:])) }

// body decodes the request's body and says where it begins.
func (x *exchange) body() (kmsg.Request, int, error) {
	req := kmsg.RequestForKey(x.key())
	if req == nil {
		return nil, 0, fmt.Errorf("%s: no such api key", x.name)
	}
	req.SetVersion(x.version())
	r := kbin.Reader{Src: x.request[12:]}
	r.NullableString() // client id
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	at := len(x.request) - len(r.Src)
	return req, at, req.ReadFrom(r.Src)
}

// answer decodes a response to the exchange, without its size.
func (x *exchange) answer(frame []byte) (kmsg.Response, error) {
	key, version := x.key(), x.version()
	resp := kmsg.ResponseForKey(key)
	if resp == nil {
		return nil, fmt.Errorf("no response for api key %d", key)
	}
	if key == 18 && version > 4 {
		version = 0 // the answer to an unknown version of ApiVersions
	}
	resp.SetVersion(version)
	r := kbin.Reader{Src: frame}
	r.Int32() // correlation id
	if resp.IsFlexible() && key != 18 {
		kmsg.SkipTags(&r)
	}
	if !r.Ok() {
		return nil, fmt.Errorf("a response of %d bytes", len(frame))
	}
	if err := resp.ReadFrom(r.Src); err != nil {
		return nil, err
	}
	return resp, nil
}
