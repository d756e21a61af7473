package main

import (
	"context"
	"fmt"
	"time"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"hosts.test/grpc/trafficrouter"
)

// router is Argo's interface of a plugin over gRPC. A call that failed is an error in the words of Argo's own client.
type router struct {
	connection *grpc.ClientConn
	client     trafficrouter.TrafficRouterClient
	// deadline of each call; 0 is none.
	deadline time.Duration
}

// Within is an argo.WithDeadlines.
func (r *router) Within(deadline time.Duration) rpc.TrafficRouterPlugin {
	hurried := *r
	hurried.deadline = deadline
	return &hurried
}

// Raw is an argo.WithRawCalls. The method is a path such as "/rollouts.trafficrouter.v1.TrafficRouter/Type".
func (r *router) Raw(method string, rollout *v1alpha1.Rollout) error {
	request := &trafficrouter.RemoveManagedRoutesRequest{}
	carry(request, "rollout", rollout)
	ctx, cancel := r.context()
	defer cancel()
	return r.connection.Invoke(ctx, method, request, &trafficrouter.RemoveManagedRoutesResponse{})
}

func (r *router) InitPlugin() types.RpcError {
	return outcome(r, "InitPlugin", r.client.InitPlugin, &trafficrouter.InitPluginRequest{})
}

func (r *router) Type() string {
	response, err := call(r, r.client.Type, &trafficrouter.TypeRequest{})
	if err != nil {
		return fmt.Sprintf("Type rpc call error: %s", err)
	}
	return response.GetType()
}

func (r *router) UpdateHash(rollout *v1alpha1.Rollout, canaryHash, stableHash string, others []v1alpha1.WeightDestination) types.RpcError {
	request := &trafficrouter.UpdateHashRequest{CanaryHash: canaryHash, StableHash: stableHash}
	carry(request, "rollout", rollout)
	carry(request, "additional_destinations", each(others)...)
	return outcome(r, "UpdateHash", r.client.UpdateHash, request)
}

func (r *router) SetWeight(rollout *v1alpha1.Rollout, weight int32, others []v1alpha1.WeightDestination) types.RpcError {
	request := &trafficrouter.SetWeightRequest{DesiredWeight: weight}
	carry(request, "rollout", rollout)
	carry(request, "additional_destinations", each(others)...)
	return outcome(r, "SetWeight", r.client.SetWeight, request)
}

func (r *router) VerifyWeight(rollout *v1alpha1.Rollout, weight int32, others []v1alpha1.WeightDestination) (types.RpcVerified, types.RpcError) {
	request := &trafficrouter.VerifyWeightRequest{DesiredWeight: weight}
	carry(request, "rollout", rollout)
	carry(request, "additional_destinations", each(others)...)
	response, err := call(r, r.client.VerifyWeight, request)
	if err != nil {
		return types.NotVerified, failure("VerifyWeight", err)
	}
	// The numbers are the same.
	return types.RpcVerified(response.GetVerification()), types.RpcError{}
}

func (r *router) SetHeaderRoute(rollout *v1alpha1.Rollout, route *v1alpha1.SetHeaderRoute) types.RpcError {
	request := &trafficrouter.SetHeaderRouteRequest{}
	carry(request, "rollout", rollout)
	carry(request, "set_header_route", route)
	return outcome(r, "SetHeaderRoute", r.client.SetHeaderRoute, request)
}

func (r *router) SetMirrorRoute(rollout *v1alpha1.Rollout, route *v1alpha1.SetMirrorRoute) types.RpcError {
	request := &trafficrouter.SetMirrorRouteRequest{}
	carry(request, "rollout", rollout)
	carry(request, "set_mirror_route", route)
	return outcome(r, "SetMirrorRoute", r.client.SetMirrorRoute, request)
}

func (r *router) RemoveManagedRoutes(rollout *v1alpha1.Rollout) types.RpcError {
	request := &trafficrouter.RemoveManagedRoutesRequest{}
	carry(request, "rollout", rollout)
	return outcome(r, "RemoveManagedRoutes", r.client.RemoveManagedRoutes, request)
}

func (r *router) context() (context.Context, context.CancelFunc) {
	if r.deadline == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), r.deadline)
}

// marshaler is a type of Argo's, with the code that Argo generated for it.
type marshaler interface {
	Marshal() ([]byte, error)
}

// carry gives a field of request the bytes that Argo's own Marshal writes, all of them: our messages are subsets of
// Argo's. To protobuf-go they are bytes of a field that it does not know, which it sends as they are.
func carry(request proto.Message, field protoreflect.Name, values ...marshaler) {
	message := request.ProtoReflect()
	number := message.Descriptor().Fields().ByName(field).Number()
	wire := message.GetUnknown()
	for _, value := range values {
		bytes, err := value.Marshal()
		if err != nil {
			panic(fmt.Sprintf("what was read from JSON cannot be written: %v", err))
		}
		wire = protowire.AppendTag(wire, number, protowire.BytesType)
		wire = protowire.AppendBytes(wire, bytes)
	}
	message.SetUnknown(wire)
}

func each(destinations []v1alpha1.WeightDestination) []marshaler {
	values := make([]marshaler, len(destinations))
	for i := range destinations {
		values[i] = &destinations[i]
	}
	return values
}

type method[Request, Response any] func(context.Context, Request, ...grpc.CallOption) (Response, error)

func call[Request, Response any](r *router, method method[Request, Response], request Request) (Response, error) {
	ctx, cancel := r.context()
	defer cancel()
	return method(ctx, request)
}

// outcome makes a call whose response says nothing but why it failed.
func outcome[Request any, Response interface{ GetError() string }](
	r *router, name string, method method[Request, Response], request Request,
) types.RpcError {
	response, err := call(r, method, request)
	if err != nil {
		return failure(name, err)
	}
	return types.RpcError{ErrorString: response.GetError()}
}

func failure(name string, err error) types.RpcError {
	return types.RpcError{ErrorString: fmt.Sprintf("%s rpc call error: %s", name, err)}
}
