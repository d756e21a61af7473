module hosts.test/host

// What every host shares. It names no version of Argo Rollouts: each host module that uses it does.
go 1.21
