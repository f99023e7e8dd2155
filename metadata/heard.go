package metadata

import "context"

// Heard tells the publisher which version another answer of the store has shown, so that it need not ask.
func (p *Publisher) Heard(version int64) { p.heard.Store(version) }

// poll returns the version in force: the one heard of since the last poll, else by asking. One below the image's may
// be old news, or mean that the store has lost something: the store has to say which.
func (p *Publisher) poll(ctx context.Context) (int64, error) {
	if v := p.heard.Swap(0); v > 0 && v >= p.Image().Version {
		return v, nil
	}
	return p.source.Version(ctx)
}
