package argo

import (
	"encoding/json"
	"errors"
	"fmt"
	netrpc "net/rpc"
	"reflect"
	"time"
	"unsafe"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"

	"hosts.test/host/lines"
)

// callFields are the arguments of all plugin calls; each method takes what it needs.
type callFields struct {
	Method       string                       `json:"method"`
	Rollout      v1alpha1.Rollout             `json:"rollout"`
	CanaryHash   string                       `json:"canaryHash"`
	StableHash   string                       `json:"stableHash"`
	Weight       int32                        `json:"weight"`
	Destinations []v1alpha1.WeightDestination `json:"destinations"`
	HeaderRoute  v1alpha1.SetHeaderRoute      `json:"headerRoute"`
	MirrorRoute  v1alpha1.SetMirrorRoute      `json:"mirrorRoute"`
	// Deadline, in milliseconds, is for hosts whose protocol has deadlines.
	Deadline int64 `json:"deadlineMillis"`
}

// WithDeadlines is a client whose protocol knows deadlines: net/rpc does not.
type WithDeadlines interface {
	// Within is the same client, which gives up each call after so long.
	Within(time.Duration) rpc.TrafficRouterPlugin
}

// WithRawCalls is a client that is not Argo's and can call a method of any name.
type WithRawCalls interface {
	Raw(method string, rollout *v1alpha1.Rollout) error
}

// verification is the result of VerifyWeight: null where the plugin does not verify.
type verification struct {
	Verified *bool `json:"verified"`
}

// call makes one call of the plugin's interface. The plugin's error, and that of the connection, is the answer's error.
func (h *host) call(line json.RawMessage) (lines.Action, error) {
	var f callFields
	if err := json.Unmarshal(line, &f); err != nil {
		return nil, err
	}
	plugin, err := h.connected()
	if err != nil {
		return nil, err
	}
	if f.Deadline > 0 {
		client, able := plugin.(WithDeadlines)
		if !able {
			return nil, errors.New("net/rpc has no deadlines")
		}
		plugin = client.Within(time.Duration(f.Deadline) * time.Millisecond)
	}

	switch f.Method {
	case "InitPlugin":
		return outcome(func() types.RpcError { return plugin.InitPlugin() }), nil
	case "Type":
		// Argo's client answers with an error's text, as if it were the type.
		return func() (any, error) { return plugin.Type(), nil }, nil
	case "UpdateHash":
		return outcome(func() types.RpcError {
			return plugin.UpdateHash(&f.Rollout, f.CanaryHash, f.StableHash, f.Destinations)
		}), nil
	case "SetWeight":
		return outcome(func() types.RpcError { return plugin.SetWeight(&f.Rollout, f.Weight, f.Destinations) }), nil
	case "VerifyWeight":
		return func() (any, error) {
			verified, err := plugin.VerifyWeight(&f.Rollout, f.Weight, f.Destinations)
			return verification{Verified: verified.IsVerified()}, asError(err)
		}, nil
	case "SetHeaderRoute":
		return outcome(func() types.RpcError { return plugin.SetHeaderRoute(&f.Rollout, &f.HeaderRoute) }), nil
	case "SetMirrorRoute":
		return outcome(func() types.RpcError { return plugin.SetMirrorRoute(&f.Rollout, &f.MirrorRoute) }), nil
	case "RemoveManagedRoutes":
		return outcome(func() types.RpcError { return plugin.RemoveManagedRoutes(&f.Rollout) }), nil
	}
	return nil, fmt.Errorf("the plugin's interface has no method %q", f.Method)
}

// raw calls a method of any name, such as "Plugin.NoSuchMethod", over the connection of Argo's client. The argument is
// that of a method which a later Argo might add: an interface that holds a Rollout.
func (h *host) raw(line json.RawMessage) (lines.Action, error) {
	var f callFields
	if err := json.Unmarshal(line, &f); err != nil {
		return nil, err
	}
	plugin, err := h.connected()
	if err != nil {
		return nil, err
	}
	if client, able := plugin.(WithRawCalls); able {
		return func() (any, error) { return nil, client.Raw(f.Method, &f.Rollout) }, nil
	}
	connection, err := rpcClient(plugin)
	if err != nil {
		return nil, err
	}
	return func() (any, error) {
		var args any = rpc.RemoveManagedRoutesArgs{Rollout: f.Rollout}
		var reply types.RpcError
		if err := connection.Call(f.Method, &args, &reply); err != nil {
			return nil, err
		}
		return nil, asError(reply)
	}, nil
}

// rpcClient takes the net/rpc client out of Argo's, which keeps it in an unexported field.
func rpcClient(plugin rpc.TrafficRouterPlugin) (*netrpc.Client, error) {
	argo, ok := plugin.(*rpc.TrafficRouterPluginRPC)
	if !ok {
		return nil, fmt.Errorf("host: Argo's client is a %T", plugin)
	}
	field := reflect.ValueOf(argo).Elem().FieldByName("client")
	if !field.IsValid() || field.Type() != reflect.TypeOf((*netrpc.Client)(nil)) {
		return nil, errors.New("host: Argo's client has no field client of type *rpc.Client")
	}
	return *(**netrpc.Client)(unsafe.Pointer(field.UnsafeAddr())), nil
}

// outcome makes an action of a call that answers with an error or nothing.
func outcome(call func() types.RpcError) lines.Action {
	return func() (any, error) { return nil, asError(call()) }
}

func asError(err types.RpcError) error {
	if err.HasError() {
		return err
	}
	return nil
}
