package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	goPlugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"hosts.test/grpc/trafficrouter"
	"hosts.test/host/argo"
)

// dispensed is the plugin's name within a set, as Argo's client has it.
const dispensed = "RpcTrafficRouterPlugin"

// handshake is Argo's (rollout/trafficrouting/plugin/client/client.go), which keeps it to itself.
var handshake = goPlugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "ARGO_ROLLOUTS_RPC_PLUGIN",
	MagicCookieValue: "trafficrouter",
}

// pluginSets are the clients by application version.
var pluginSets = map[int]goPlugin.PluginSet{
	1: {dispensed: &rpc.RpcTrafficRouterPlugin{}},
	2: {dispensed: &grpcPlugin{}},
}

// grpcPlugin has go-plugin make our client of a gRPC connection.
type grpcPlugin struct {
	goPlugin.NetRPCUnsupportedPlugin
}

func (*grpcPlugin) GRPCServer(*goPlugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves no plugin")
}

func (*grpcPlugin) GRPCClient(_ context.Context, _ *goPlugin.GRPCBroker, connection *grpc.ClientConn) (any, error) {
	return &router{connection: connection, client: trafficrouter.NewTrafficRouterClient(connection)}, nil
}

// offer is what this host can do, as the plugin is told.
type offer struct {
	versions  []int
	mtls      bool
	multiplex bool
}

// connector starts and greets the plugin in the order of Argo's client.
type connector struct {
	offer offer
	args  []string

	mutex  sync.Mutex
	client *goPlugin.Client
	plugin rpc.TrafficRouterPlugin
}

// connect is an argo.Connect.
func (c *connector) connect() (rpc.TrafficRouterPlugin, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.client == nil || c.client.Exited() {
		if err := c.start(); err != nil {
			return nil, err
		}
	}
	// go-plugin keeps the connection of a client, so this makes none.
	protocol, err := c.client.Client()
	if err == nil {
		err = protocol.Ping()
	}
	if err != nil {
		c.client.Kill()
		c.client = nil
		return nil, fmt.Errorf("could not ping the plugin: %w", err)
	}
	return c.plugin, nil
}

func (c *connector) start() error {
	client, err := c.newClient()
	if err != nil {
		return err
	}
	protocol, err := client.Client()
	if err != nil {
		return fmt.Errorf("unable to get the plugin's client: %w", err)
	}
	raw, err := protocol.Dispense(dispensed)
	if err != nil {
		return fmt.Errorf("unable to dispense the plugin: %w", err)
	}
	plugin, ok := raw.(rpc.TrafficRouterPlugin)
	if !ok {
		return fmt.Errorf("the dispensed plugin is a %T", raw)
	}
	c.client, c.plugin = client, plugin
	if failed := plugin.InitPlugin(); failed.HasError() {
		return fmt.Errorf("unable to initialize the plugin: %w", failed)
	}
	return nil
}

func (c *connector) newClient() (*goPlugin.Client, error) {
	executable, err := filepath.Abs(argo.Executable)
	if err != nil {
		return nil, err
	}
	sets := map[int]goPlugin.PluginSet{}
	for _, version := range c.offer.versions {
		sets[version] = pluginSets[version]
	}
	return goPlugin.NewClient(&goPlugin.ClientConfig{
		HandshakeConfig:     handshake,
		VersionedPlugins:    sets,
		AllowedProtocols:    []goPlugin.Protocol{goPlugin.ProtocolNetRPC, goPlugin.ProtocolGRPC},
		AutoMTLS:            c.offer.mtls,
		GRPCBrokerMultiplex: c.offer.multiplex,
		Cmd:                 exec.Command(executable, c.args...),
		Managed:             true,
	}), nil
}
