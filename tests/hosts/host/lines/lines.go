// Package lines drives a host by lines: one JSON command per line comes in, one JSON answer per line goes out.
//
// A command is an object with "id" (the caller's own number), "cmd" (its name) and the fields of that command.
// Commands run side by side, and each is answered when it is done, so answers carry the id and come in any order.
//
// "repeat" and "parallel" on any command run it many times and answer with the spread of the measured times.
package lines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Action is what a command does. Only its run time is measured, so everything that must be parsed is parsed before.
type Action func() (any, error)

// Command reads the fields of one command from its line and returns what is to be done.
type Command func(line json.RawMessage) (Action, error)

type header struct {
	ID       uint64 `json:"id"`
	Cmd      string `json:"cmd"`
	Repeat   int    `json:"repeat"`
	Parallel int    `json:"parallel"`
}

type answer struct {
	ID     uint64 `json:"id"`
	Result any    `json:"result,omitempty"`
	// Error is absent when the command succeeded.
	Error string `json:"error,omitempty"`
	// Micros is how long the action ran, in microseconds.
	Micros int64 `json:"micros"`
}

// Serve answers commands until in ends. It does not wait for commands still under way then: a call that hangs
// in the plugin must not keep the host alive.
func Serve(in io.Reader, out io.Writer, commands map[string]Command) error {
	answers := &answerWriter{out: json.NewEncoder(out)}
	// A Decoder, unlike a Scanner, has no limit on the length of a line.
	decoder := json.NewDecoder(in)
	for {
		var line json.RawMessage
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the command after byte %d is not JSON: %w", decoder.InputOffset(), err)
		}
		go func() { answers.write(run(line, commands)) }()
	}
}

func run(line json.RawMessage, commands map[string]Command) answer {
	var head header
	if err := json.Unmarshal(line, &head); err != nil {
		return answer{Error: fmt.Sprintf("host: bad command: %v", err)}
	}
	command, known := commands[head.Cmd]
	if !known {
		return answer{ID: head.ID, Error: fmt.Sprintf("host: no command %q", head.Cmd)}
	}
	action, err := command(line)
	if err != nil {
		return answer{ID: head.ID, Error: fmt.Sprintf("host: bad command %q: %v", head.Cmd, err)}
	}
	if head.Repeat > 0 {
		action = repeated(action, head.Repeat, head.Parallel)
	}

	began := time.Now()
	result, err := action()
	done := answer{ID: head.ID, Result: result, Micros: time.Since(began).Microseconds()}
	if err != nil {
		done.Error = err.Error()
	}
	return done
}

type answerWriter struct {
	mutex sync.Mutex
	out   *json.Encoder
}

func (w *answerWriter) write(a answer) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if err := w.out.Encode(a); err != nil {
		// Without its reader the host has no purpose left.
		panic(fmt.Sprintf("cannot write an answer: %v", err))
	}
}
