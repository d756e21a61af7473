// A host that offers both doors: Argo's own net/rpc client as version 1, a gRPC client as version 2. No release of
// Argo Rollouts does that yet. See ../README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"hosts.test/host/argo"
)

func main() {
	var offer offer
	versions := flag.String("versions", "1,2", "the application versions to offer, with commas")
	flag.BoolVar(&offer.mtls, "mtls", false, "have both sides prove themselves by certificates (AutoMTLS)")
	flag.BoolVar(&offer.multiplex, "multiplex", false, "carry all gRPC over one connection (GRPCBrokerMultiplex)")
	flag.Parse()
	if flag.NArg() == 0 {
		argo.Fail(2, errors.New("usage: grpc [FLAG...] PLUGIN [ARGUMENT...]"))
	}
	for _, version := range strings.Split(*versions, ",") {
		number, err := strconv.Atoi(version)
		if err != nil || pluginSets[number] == nil {
			argo.Fail(2, fmt.Errorf("-versions: %q is no version of this host", version))
		}
		offer.versions = append(offer.versions, number)
	}
	connector := &connector{offer: offer, args: flag.Args()[1:]}
	if err := argo.Run(flag.Arg(0), connector.connect); err != nil {
		argo.Fail(1, err)
	}
}
