// Package chaos kills a broker by SIGKILL again and again under load, and holds what clients saw against the rules of
// internal/historycheck after every restart and at the end. It is a test package:
//
//	go test -tags e2e ./e2e/chaos                     5 kills
//	go test -tags e2e ./e2e/chaos -kills 50 -timeout 1h
//	go test -tags e2e ./e2e/chaos -seed 7             the same choices again (not the same interleaving)
//	go test -tags e2e ./e2e/chaos -against kafka      the reference Kafka, which tests the test
package chaos
