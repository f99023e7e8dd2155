package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuSeconds is the user and system time that process pid has used, from /proc/PID/stat (fields 14 and 15, in 1/100 s).
func cpuSeconds(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// rssMB is the resident memory of process pid in MB (10^6 bytes).
func rssMB(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

// pretouch makes the machine's free pages real before a run: a virtual machine that gave its free memory back pays several
// times more for the first use of a page, and whoever runs first would look slow.
func pretouch(dir string, bytes int64) error {
	path := filepath.Join(dir, "pretouch")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	block := make([]byte, 1<<20)
	for written := int64(0); written < bytes; written += int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// sample measures a stretch of work of processes: wall time and their CPU together.
type sample struct {
	pids  []int
	start time.Time
	cpu   float64
}

func begin(pids ...int) sample { return sample{pids, time.Now(), cpuTogether(pids)} }

// end returns the seconds of wall time and of CPU since begin.
func (s sample) end() (wall, cpu float64) {
	return time.Since(s.start).Seconds(), cpuTogether(s.pids) - s.cpu
}

func cpuTogether(pids []int) (sum float64) {
	for _, pid := range pids {
		sum += cpuSeconds(pid)
	}
	return sum
}
