// Generate writes the Go code of proto/ that the gRPC host uses: protocompile parses, protoc's own plugins write.
//
// It runs in its own folder. With -check it writes nothing, and fails when what is there is not what it would write.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	sources = "../../../proto"
	target  = "../grpc/trafficrouter"
	// The proto files belong to no language, so they do not say where their Go code lies.
	goPackage = "hosts.test/grpc/trafficrouter"
)

// files are in the order that protoc gives: imported ones first.
var files = []string{"trafficrouter/v1/rollout.proto", "trafficrouter/v1/traffic_router.proto"}

var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	request, err := parse()
	if err != nil {
		return err
	}
	for _, plugin := range plugins {
		generated, err := generate(plugin, request)
		if err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
		for _, file := range generated.File {
			path := filepath.Join(target, filepath.Base(file.GetName()))
			if !check {
				err = os.WriteFile(path, []byte(file.GetContent()), 0o644)
			} else if found, _ := os.ReadFile(path); !bytes.Equal(found, []byte(file.GetContent())) {
				err = fmt.Errorf("%s is not what proto/ says: run `make proto`", path)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// parse makes the request that protoc would send to its plugins.
func parse() (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{sources}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), files...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: files}
	parameters := []string{}
	for i, file := range files {
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(compiled[i]))
		parameters = append(parameters, fmt.Sprintf("M%s=%s", file, goPackage))
	}
	request.Parameter = proto.String(strings.Join(parameters, ","))
	return request, nil
}

// generate runs a plugin, at the version that go.mod names.
func generate(plugin string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	command := exec.Command("go", "tool", plugin)
	command.Stdin = bytes.NewReader(input)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s", response.GetError())
	}
	return &response, nil
}
