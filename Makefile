# Varve's build and tests. `make help` lists the targets.

KAFKA_HOME ?= $(HOME)/.cache/varve-reference-kafka

.PHONY: help run build build-all test test-all test-race test-e2e test-cluster fuzz bench staticcheck vet

run: build ## build varve and start a broker for development
	bin/varve dev

build: ## make bin/varve
	CGO_ENABLED=0 go build -ldflags "-X main.version=$$(git describe --always --dirty 2>/dev/null || echo unknown)" -o bin/varve ./cmd/varve

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

vet: ## go vet, end-to-end programs included
	go vet ./...
	go vet -tags e2e ./e2e/...

test: vet ## the tests a contributor needs; they bring their own Postgres and MinIO
	go test -timeout 20m ./... ./testdata/flights

test-all: staticcheck test-race test-e2e test-cluster fuzz build-all ## everything, real clients and MinIO included

build-all: ## cross builds
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/varve
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/varve

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

staticcheck: vet ## static analysis
	GOFLAGS= go run $(STATICCHECK) ./...

# Counted, not timed: when -fuzztime is a duration, go's coordinator may report its own deadline as a failure (golang/go#75804).
fuzz: ## each fuzz target for some thousand inputs
	@for pkg in commitlog commitlog/record tiering server; do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$pkg/*_test.go | cut -c6-); do \
	    n=20000; [ $$target = FuzzRecovery ] && n=2000; echo "fuzzing $$pkg $$target"; \
	    go test ./$$pkg -run '^$$' -fuzz "^$$target$$" -fuzztime $${n}x -fuzzminimizetime 10x || exit 1; done; done

bench: build ## Varve and Kafka side by side: about an hour; writes docs/benchmarks.md
	go run ./bench -out docs/benchmarks.md

test-race: ## the same with the race detector
	go test -race -timeout 40m ./... ./testdata/flights

test-e2e: build ## real clients and kill -9 against the binary; needs kcat, confluent-kafka, Java and the kit in testdata/kafka
	VARVE_BINARY=$(CURDIR)/bin/varve go test -tags e2e -count=1 -timeout 30m ./e2e/chaos ./e2e/clients ./e2e/disk ./e2e/demo ./e2e/faults ./e2e/kafkalog ./e2e/volume ./e2e/wire

CLUSTER_FLAGS ?=

test-cluster: build ## a cluster of three under one fault after the other, ten minutes; CLUSTER_FLAGS="-long 10m -seed 7" for more
	VARVE_BINARY=$(CURDIR)/bin/varve go test -tags e2e -count=1 -timeout 6h ./e2e/cluster $(CLUSTER_FLAGS)
