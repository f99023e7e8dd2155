# Varve's build and tests. `make help` lists the targets.

KAFKA_HOME ?= $(HOME)/.cache/varve-reference-kafka

.PHONY: help test test-race vet

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

vet: ## go vet, end-to-end programs included
	go vet ./...
	go vet -tags e2e ./e2e/...

test: vet ## the tests a contributor needs; they bring their own Postgres
	go test -timeout 20m ./...

test-race: ## the same with the race detector
	go test -race -timeout 40m ./...
