// The rollouts controller of Argo Rollouts 1.9.3, as a traffic router plugin sees it. See ../README.md.
package main

import "hosts.test/host/argo"

func main() { argo.Main() }
