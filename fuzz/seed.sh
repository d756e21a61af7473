#!/bin/sh -eu
# Fills fuzz/corpus from bytes that real Go wrote (tests/data/wire) and from what people write. A target that takes more
# than bytes takes its choices from the front, as the crate `arbitrary` has it.

cd "$(dirname "$0")/.."
wire=tests/data/wire
corpus=fuzz/corpus
mkdir -p $corpus/gob $corpus/stream $corpus/session $corpus/handshake $corpus/entry

# gob: a byte that chooses the pieces, then a stream.
for choice in 0 1; do
    { printf "\\$choice"; cat $wire/ctl_*.req.bin; } > $corpus/gob/control-requests.$choice
    { printf "\\$choice"; cat $wire/ctl_*.resp.bin; } > $corpus/gob/control-replies.$choice
    { printf "\\$choice"; cat $wire/plg_*.req.bin; } > $corpus/gob/plugin-requests.$choice
    { printf "\\$choice"; cat $wire/plg_*.resp.bin; } > $corpus/gob/plugin-replies.$choice
done
for file in $wire/gen/*.bin $wire/resp_templates.bin; do
    { printf '\0'; cat "$file"; } > "$corpus/gob/$(basename "$file")"
done

# stream: control or plugin, the choice of pieces, then a stream.
for choice in 0 1; do
    { printf "\\1\\$choice"; cat $wire/ctl_*.req.bin; } > $corpus/stream/control.$choice
    { printf "\\0\\$choice"; cat $wire/plg_*.req.bin; } > $corpus/stream/plugin.$choice
done
# The host's types come with the first request that has a Rollout. Shorter streams are quicker to work on.
{ printf '\0\0'; cat $wire/plg_01*.req.bin $wire/plg_02*.req.bin; } > $corpus/stream/first
{ printf '\0\0'; cat $wire/plg_01*.req.bin $wire/plg_02*.req.bin $wire/plg_03*.req.bin $wire/plg_04*.req.bin; } \
    > $corpus/stream/weight

# session: a whole connection.
cp $wire/session_h2p.bin $corpus/session/host
head -c 400 $wire/session_h2p.bin > $corpus/session/beginning

# handshake: what hosts of three kinds set.
cookie='ARGO_ROLLOUTS_RPC_PLUGIN=trafficrouter\0'
printf "${cookie}PLUGIN_PROTOCOL_VERSIONS=1\\0PLUGIN_MIN_PORT=10000\\0" > $corpus/handshake/stock
printf "${cookie}PLUGIN_PROTOCOL_VERSIONS=2,1\\0PLUGIN_MULTIPLEX_GRPC=true\\0" > $corpus/handshake/grpc
printf "${cookie}PLUGIN_PROTOCOL_VERSIONS=x, 2 ,-1\\0PLUGIN_UNIX_SOCKET_DIR=/tmp\\0PLUGIN_CLIENT_CERT=-----BEGIN\\0" \
    > $corpus/handshake/tls

# entry: a weight (eight bytes), a maximum weight (there or not, four bytes), then the JSON.
groups='"stableTargetGroupArn":"arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/stable/a",'
groups=$groups'"canaryTargetGroupArn":"arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/canary/b"'
rule='arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/c'
weight='\012\0\0\0\0\0\0\0'
printf "$weight\\0{%s}" "$groups" > $corpus/entry/groups
printf "$weight\\1\\144\\0\\0\\0{%s,\"ruleArns\":[\"%s\"]}" "$groups" "$rule" > $corpus/entry/rules
printf "$weight\\0{}" > $corpus/entry/found
printf "$weight\\0{\"ingress\":\"web\",\"servicePort\":80,\"rootService\":\"web\",\"annotationPrefix\":\"a.b\"}" > $corpus/entry/ingress
printf "$weight\\0{\"stickinessConfig\":{\"enabled\":true,\"durationSeconds\":60},\"ingresses\":[\"a\",\"b\"]}" > $corpus/entry/sticky
printf "$weight\\0{\"assumeRoleArn\":\"arn:aws:iam::1:role/r\",\"externalId\":\"x\",\"region\":\"eu-west-1\"}" > $corpus/entry/role
printf "$weight\\0{\"gates\":{\"rising\":false,\"minHealthyPercent\":1},\"guard\":false,\"settleSeconds\":0}" > $corpus/entry/gates
printf "$weight\\0{\"ingres\":\"web\",\"stableTargetGroupArn\":7,\"ruleArns\":[]}" > $corpus/entry/wrong
printf "$weight\\0{\"metadata\":{\"namespace\":\"shop\",\"name\":\"web\"},\"spec\":{\"strategy\":{\"canary\":{\"trafficRouting\":{\"plugins\":{\"a/b\":{%s}}}}}}}" \
    "$groups" > $corpus/entry/rollout
