package argo

import (
	"io"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// pluginLog is go-plugin's log. It passes every line on, and learns from go-plugin's own ones (never from the
// plugin's, whose logger is named plugin.alb) how the process fares. hclog writes each line with one call.
type pluginLog struct {
	out io.Writer

	mutex  sync.Mutex
	latest process
}

// process is one process of the plugin. pid is 0 until it runs, version until it has shaken hands.
type process struct {
	starting  time.Time
	pid       int
	handshake time.Time
	version   int
	// quit is set when go-plugin saw the process answer Control.Quit and end within its grace.
	quit bool
	end  *end
}

// end is how a process ended. failure, empty after exit status 0, may be read once done is closed.
type end struct {
	failure string
	done    chan struct{}
}

// The messages are those of client.go and cmd_runner.go in go-plugin, the same from 1.6.0 to 1.8.0.
var (
	starting = regexp.MustCompile(`^\S+ \[DEBUG\] plugin: starting plugin:`)
	started  = regexp.MustCompile(`^\S+ \[DEBUG\] plugin: plugin started: .*\bpid=(\d+)`)
	using    = regexp.MustCompile(`^\S+ \[DEBUG\] plugin: using plugin: version=(\d+)`)
	exited   = regexp.MustCompile(`^\S+ \[\w+\] +plugin: plugin process exited: .*\bid=(\d+)(?: error="?([^"]*)"?)?`)
	quit     = regexp.MustCompile(`^\S+ \[DEBUG\] plugin: plugin exited`)
)

// Write takes one line of the log.
func (l *pluginLog) Write(line []byte) (int, error) {
	now := time.Now()
	l.learn(string(line), now)
	return l.out.Write(line)
}

// current is the process started last, running or not; false if there is none.
func (l *pluginLog) current() (process, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.latest, l.latest.pid != 0
}

func (l *pluginLog) learn(line string, now time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if starting.MatchString(line) {
		l.latest = process{starting: now, end: &end{done: make(chan struct{})}}
	} else if m := started.FindStringSubmatch(line); m != nil {
		l.latest.pid, _ = strconv.Atoi(m[1])
	} else if m := using.FindStringSubmatch(line); m != nil {
		l.latest.handshake = now
		l.latest.version, _ = strconv.Atoi(m[1])
	} else if m := exited.FindStringSubmatch(line); m != nil && m[1] == strconv.Itoa(l.latest.pid) {
		l.latest.end.failure = m[2]
		close(l.latest.end.done)
	} else if quit.MatchString(line) {
		// The line names no process, but only the latest can still answer.
		l.latest.quit = true
	}
}
