// Package demo runs `varve demo`, a program that fails when one byte differs, against brokers with every kind of bucket.
package demo
