# Varve's build and tests. `make help` lists the targets.

KAFKA_HOME ?= $(HOME)/.cache/varve-reference-kafka

.PHONY: help run build test test-race test-e2e vet

run: build ## build varve and start a broker for development
	bin/varve dev

build: ## make bin/varve
	CGO_ENABLED=0 go build -ldflags "-X main.version=$$(git describe --always --dirty 2>/dev/null || echo unknown)" -o bin/varve ./cmd/varve

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

vet: ## go vet, end-to-end programs included
	go vet ./...
	go vet -tags e2e ./e2e/...

test: vet ## the tests a contributor needs; they bring their own Postgres
	go test -timeout 20m ./...

test-race: ## the same with the race detector
	go test -race -timeout 40m ./...

test-e2e: build ## real clients and kill -9 against the binary; needs kcat, confluent-kafka, Java and the kit in testdata/kafka
	VARVE_BINARY=$(CURDIR)/bin/varve go test -tags e2e -count=1 -timeout 30m ./e2e/chaos ./e2e/clients ./e2e/disk
