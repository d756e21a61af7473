// The rollouts controller of Argo Rollouts 1.8.5, as a traffic router plugin sees it. See ../README.md.
package main

import "hosts.test/host/argo"

func main() { argo.Main() }
