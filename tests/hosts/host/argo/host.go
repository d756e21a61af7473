// Package argo plays the rollouts controller for a traffic router plugin, with Argo's own client code.
//
// The plugin is found, started, greeted and restarted by GetTrafficPlugin, as in the controller; which release of
// Argo Rollouts that is, the importing module decides. What Argo keeps to itself (process id, version, exit) is read
// from go-plugin's log. A host that connects in another way brings a Connect of its own.
package argo

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/client"
	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/argoproj/argo-rollouts/utils/config"
	"github.com/argoproj/argo-rollouts/utils/defaults"
	"github.com/hashicorp/go-hclog"
	goPlugin "github.com/hashicorp/go-plugin"

	"hosts.test/host/lines"
)

// pluginName is the plugin's name in the ConfigMap and in Rollouts. go-plugin logs its lines as "plugin.alb".
const pluginName = "argoproj-labs/alb"

// Executable is where Argo's client looks for the plugin, and where Run puts it, in the working directory.
var Executable = filepath.Join(defaults.DefaultRolloutPluginFolder, filepath.FromSlash(pluginName))

// Connect does what each reconcile begins with: start the plugin and InitPlugin, if none runs, then Ping. It marks
// its go-plugin clients as managed, and leaves their log to go-plugin.
type Connect func() (rpc.TrafficRouterPlugin, error)

// Main is the host that connects as the release of Argo Rollouts does. The arguments are the plugin's path and the
// plugin's own arguments.
func Main() {
	if len(os.Args) < 2 {
		Fail(2, fmt.Errorf("usage: %s PLUGIN [ARGUMENT...]", os.Args[0]))
	}
	if err := configure(os.Args[2:]); err != nil {
		Fail(1, fmt.Errorf("cannot configure the plugin: %w", err))
	}
	connect := func() (rpc.TrafficRouterPlugin, error) { return client.GetTrafficPlugin(pluginName) }
	if err := Run(os.Args[1], connect); err != nil {
		Fail(1, err)
	}
}

// Fail ends the host with an error for people.
func Fail(status int, err error) {
	fmt.Fprintln(os.Stderr, "host:", err)
	os.Exit(status)
}

// Run carries out commands with the plugin at path, until there are no more. The working directory gets the folder
// plugin-bin, as the controller's does; the plugin inherits the environment.
func Run(path string, connect Connect) error {
	// go-plugin hands its own stdin to the plugin. Ours carries the commands, so the plugin gets the empty one.
	commands := os.Stdin
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	os.Stdin = null

	if err := install(path); err != nil {
		return fmt.Errorf("cannot install the plugin %s: %w", path, err)
	}

	log := &pluginLog{out: os.Stderr}
	// Argo's client leaves the logger to go-plugin, whose default one writes here.
	hclog.DefaultOutput = log
	host := &host{log: log, start: connect}

	err = lines.Serve(commands, os.Stdout, map[string]lines.Command{
		"connect":  plain(host.connect),
		"call":     host.call,
		"raw":      host.raw,
		"kill":     plain(host.kill),
		"waitExit": plain(host.waitExit),
	})
	// As the controller does when it shuts down.
	goPlugin.CleanupClients()
	return err
}

// install puts the plugin where Argo's client looks for it. The controller copies it there; a link does the same.
func install(path string) error {
	target, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(target); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(Executable), 0o700); err != nil {
		return err
	}
	return os.Symlink(target, Executable)
}

// configure has Argo read a ConfigMap that names the plugin.
func configure(args []string) error {
	items, err := json.Marshal([]map[string]any{{
		"name":     pluginName,
		"location": "file://installed-by-the-host",
		"args":     args,
	}})
	if err != nil {
		return err
	}
	// YAML, which Argo expects, includes JSON.
	cluster := cluster{data: map[string]string{"trafficRouterPlugins": string(items)}}
	_, err = config.InitializeConfig(cluster, defaults.DefaultRolloutsConfigMapName)
	return err
}

// plain makes a command of an action that takes no fields.
func plain(action lines.Action) lines.Command {
	return func(json.RawMessage) (lines.Action, error) { return action, nil }
}

type host struct {
	log   *pluginLog
	start Connect

	mutex  sync.Mutex
	plugin rpc.TrafficRouterPlugin
}

var errNotConnected = errors.New("host: not connected: connect first")

func (h *host) connected() (rpc.TrafficRouterPlugin, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.plugin == nil {
		return nil, errNotConnected
	}
	return h.plugin, nil
}

// connection describes the plugin's process after a connect.
type connection struct {
	Pid int `json:"pid"`
	// Version is the negotiated app version.
	Version int `json:"version"`
	// HandshakeMicros is the time from just before exec to the handshake line, for the process with this pid.
	HandshakeMicros int64 `json:"handshakeMicros"`
}

// connect carries out a Connect, and says what it found.
func (h *host) connect() (any, error) {
	plugin, err := h.start()
	if err != nil {
		return nil, err
	}
	h.mutex.Lock()
	h.plugin = plugin
	h.mutex.Unlock()

	process, known := h.log.current()
	if !known {
		return nil, errors.New("host: go-plugin's log names no process of the plugin")
	}
	return connection{
		Pid:             process.pid,
		Version:         process.version,
		HandshakeMicros: process.handshake.Sub(process.starting).Microseconds(),
	}, nil
}

// exit is how the plugin's process ended.
type exit struct {
	Pid int `json:"pid"`
	// Failure is what wait() said, such as "exit status 3" or "signal: killed"; absent after exit status 0.
	Failure string `json:"failure,omitempty"`
}

// killed is how it ended when told to.
type killed struct {
	exit
	// Clean tells that it answered Control.Quit and went within go-plugin's grace. No failure does not say so: when Quit
	// has no answer, go-plugin kills at once, perhaps a process that has just gone.
	Clean bool `json:"clean"`
}

// kill ends the plugin as the controller does: Control.Quit, two seconds of grace, then SIGKILL.
func (h *host) kill() (any, error) {
	// go-plugin waits here until the process is gone.
	goPlugin.CleanupClients()
	process, known := h.log.current()
	if !known {
		return nil, errNotConnected
	}
	return killed{exit: ended(process), Clean: process.quit}, nil
}

// waitExit answers when the process of the last connect has ended, by whatever cause.
func (h *host) waitExit() (any, error) {
	process, known := h.log.current()
	if !known {
		return nil, errNotConnected
	}
	return ended(process), nil
}

// ended waits until the process has ended.
func ended(p process) exit {
	<-p.end.done
	return exit{Pid: p.pid, Failure: p.end.failure}
}
