package lines

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// spread is the result of a repeated command. Times are in microseconds; failed runs count in them like others.
type spread struct {
	Runs int   `json:"runs"`
	P50  int64 `json:"p50Micros"`
	P99  int64 `json:"p99Micros"`
	Max  int64 `json:"maxMicros"`
	// Errors counts the failed runs by error text.
	Errors map[string]int `json:"errors"`
}

// repeated runs action so many times, at most parallel (at least one) at once.
func repeated(action Action, runs, parallel int) Action {
	return func() (any, error) {
		took := make([]time.Duration, runs)
		errs := make([]error, runs)
		var next atomic.Int64
		var workers sync.WaitGroup
		for w := 0; w < max(parallel, 1); w++ {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for i := next.Add(1) - 1; i < int64(runs); i = next.Add(1) - 1 {
					began := time.Now()
					_, errs[i] = action()
					took[i] = time.Since(began)
				}
			}()
		}
		workers.Wait()

		sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
		failures := map[string]int{}
		for _, err := range errs {
			if err != nil {
				failures[err.Error()]++
			}
		}
		return spread{
			Runs:   runs,
			P50:    percentile(took, 50),
			P99:    percentile(took, 99),
			Max:    percentile(took, 100),
			Errors: failures,
		}, nil
	}
}

// percentile picks the nearest rank from times in ascending order, at least one of them.
func percentile(sorted []time.Duration, percent int) int64 {
	rank := (len(sorted)*percent + 99) / 100
	return sorted[rank-1].Microseconds()
}
