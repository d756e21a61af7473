"""The calls about targets, attributes, tags, long answers, Network Load Balancers and tokens, and the end of all."""

from steps import (
    Step,
    attributes,
    first,
    forward,
    gone,
    group,
    health,
    host,
    rule,
    split,
    target,
)

TARGETS = [
    Step(
        "targets: two",
        "register_targets",
        lambda w: {"TargetGroupArn": w["stable"], "Targets": [target("10.0.0.10"), target("10.0.0.11")]},
    ),
    health("registered"),
    health("of one", [target("10.0.0.11")]),
    health("of a stranger", [target("10.0.0.99")]),
    Step(
        "targets: one goes",
        "deregister_targets",
        lambda w: {"TargetGroupArn": w["stable"], "Targets": [target("10.0.0.10")]},
    ),
    health("of one that goes", [target("10.0.0.10")]),
    Step(
        "targets: a stranger goes",
        "deregister_targets",
        lambda w: {"TargetGroupArn": w["stable"], "Targets": [target("10.0.0.99")]},
    ),
    Step(
        "targets: in no rule",
        "register_targets",
        lambda w: {"TargetGroupArn": w["spare"], "Targets": [target("10.0.0.10")]},
    ),
    health("in no rule", of="spare"),
    Step(
        "targets: no address",
        "register_targets",
        lambda w: {"TargetGroupArn": w["spare"], "Targets": [{"Id": "i-0123456789abcdef0", "Port": 80}]},
    ),
    Step(
        "targets: no such group",
        "register_targets",
        lambda w: {"TargetGroupArn": gone(w["stable"]), "Targets": [target("10.0.0.10")]},
    ),
]

DELAY = "deregistration_delay.timeout_seconds"
SLOW = "slow_start.duration_seconds"
STICKY = "stickiness.enabled"
KIND = "stickiness.type"
of_group = attributes("modify", "foreign", DELAY, SLOW)
of_balancer = attributes("modify", "alb", "idle_timeout.timeout_seconds")


def setting(key, value):
    return [{"Key": key, "Value": value}]


ATTRIBUTES = [
    attributes("describe", "foreign", DELAY, SLOW, STICKY, KIND, "load_balancing.algorithm.type")(
        "attributes: a group's defaults"
    ),
    of_group("attributes: another delay", setting(DELAY, "30")),
    of_group("attributes: a delay out of range", setting(DELAY, "3601")),
    of_group("attributes: an hour", setting(DELAY, "3600")),
    of_group("attributes: a key that there is not", setting("delay", "3")),
    of_group("attributes: stickiness of the other type", setting(KIND, "source_ip")),
    attributes(
        "describe",
        "alb",
        "deletion_protection.enabled",
        "load_balancing.cross_zone.enabled",
        "idle_timeout.timeout_seconds",
    )("attributes: a load balancer's defaults"),
    of_balancer("attributes: another timeout", setting("idle_timeout.timeout_seconds", "30")),
    of_balancer("attributes: a timeout out of range", setting("idle_timeout.timeout_seconds", "4001")),
    Step(
        "target group: other checks",
        "modify_target_group",
        lambda w: {"TargetGroupArn": w["spare"], "HealthCheckPath": "/live", "HealthyThresholdCount": 2},
    ),
    Step(
        "target group: not there",
        "modify_target_group",
        lambda w: {"TargetGroupArn": gone(w["spare"]), "HealthCheckPath": "/"},
    ),
    Step(
        "target group: where it is used",
        "describe_target_groups",
        lambda w: {"TargetGroupArns": [w["canary"]]},
        pick=lambda answer: answer["TargetGroups"][0]["LoadBalancerArns"],
    ),
    Step(
        "target group: chosen two ways",
        "describe_target_groups",
        lambda w: {"Names": ["stable"], "TargetGroupArns": [w["canary"]]},
    ),
    Step(
        "limits",
        "describe_account_limits",
        pick=lambda answer: {limit["Name"] for limit in answer["Limits"]} >= {"target-groups"},
    ),
]


def tags_of(name, *resources):
    return Step(name, "describe_tags", lambda w: {"ResourceArns": [w[resource] for resource in resources]})


TAGS = [
    Step(
        "tags: added",
        "add_tags",
        lambda w: {"ResourceArns": [w["shop"], w["stable"]], "Tags": [{"Key": "team", "Value": "shop"}]},
    ),
    tags_of("tags: of a rule and a group", "shop", "stable"),
    Step("tags: removed", "remove_tags", lambda w: {"ResourceArns": [w["shop"]], "TagKeys": ["team"]}),
    tags_of("tags: none left", "shop"),
    Step("tags: of 21", "describe_tags", lambda w: {"ResourceArns": [w["shop"]] * 21}, pick=lambda _: "accepted"),
    Step(
        "tags: of a rule that is not there",
        "describe_tags",
        lambda w: {"ResourceArns": [gone(w["shop"])]},
        pick=lambda _: "accepted",
    ),
    Step("tags: of a group that is not there", "describe_tags", lambda w: {"ResourceArns": [gone(w["stable"])]}),
]


def count(answer):
    return {"rules": len(answer["Rules"]), "more": "NextMarker" in answer}


MANY = [
    Step(
        "many: a load balancer",
        "create_load_balancer",
        lambda w: {"Name": "many", "Subnets": [w["subnet a"], w["subnet b"]]},
        {"many": first("LoadBalancers", "LoadBalancerArn")},
        lambda _: "made",
    ),
    group("crowd"),
    Step(
        "many: a listener",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["many"],
            "Protocol": "HTTP",
            "Port": 80,
            "DefaultActions": forward(w, ("crowd", 1)),
        },
        {"busy": first("Listeners", "ListenerArn")},
        lambda _: "made",
    ),
    *(
        Step(
            f"many: rule {number}",
            "create_rule",
            lambda w, number=number: {
                "ListenerArn": w["busy"],
                "Priority": number,
                "Conditions": host(f"h{number}.example.com"),
                "Actions": forward(w, ("crowd", 1)),
            },
            {f"rule {number}": first("Rules", "RuleArn")},
            lambda _: "made",
        )
        for number in range(1, 102)
    ),
    Step("many: a page", "describe_rules", lambda w: {"ListenerArn": w["busy"]}, pick=count),
    Step("many: a small page", "describe_rules", lambda w: {"ListenerArn": w["busy"], "PageSize": 7}, pick=count),
    Step(
        "many: 60 by ARN", "describe_rules", lambda w: {"RuleArns": [w[f"rule {n}"] for n in range(1, 61)]}, pick=count
    ),
    Step(
        "many: both ways", "describe_rules", lambda w: {"ListenerArn": w["busy"], "RuleArns": [w["rule 1"]]}, pick=count
    ),
    Step("many: neither way", "describe_rules", pick=count),
    Step(
        "many: one is not there", "describe_rules", lambda w: {"RuleArns": [w["rule 1"], gone(w["shop"])]}, pick=count
    ),
]

NETWORK = [
    Step(
        "network: a load balancer",
        "create_load_balancer",
        lambda w: {"Name": "wire", "Type": "network", "Subnets": [w["subnet a"]]},
        {"nlb": first("LoadBalancers", "LoadBalancerArn")},
    ),
    group("wire-stable", Protocol="TCP"),
    group("wire-canary", Protocol="TCP"),
    Step(
        "network: a listener",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["nlb"],
            "Protocol": "TCP",
            "Port": 7000,
            "DefaultActions": forward(w, ("wire-stable", 100), ("wire-canary", 0)),
        },
        {"tcp": first("Listeners", "ListenerArn")},
    ),
    Step(
        "network: weights",
        "modify_listener",
        lambda w: {"ListenerArn": w["tcp"], "DefaultActions": forward(w, ("wire-stable", 60), ("wire-canary", 40))},
    ),
    Step(
        "network: a group of the other type",
        "modify_listener",
        lambda w: {"ListenerArn": w["tcp"], "DefaultActions": forward(w, ("spare", 1))},
        pick=lambda _: "accepted",
    ),
    Step(
        "network: HTTP",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["nlb"],
            "Protocol": "HTTP",
            "Port": 81,
            "DefaultActions": forward(w, ("spare", 1)),
        },
    ),
]


def shape(answer):
    """What is always alike of the answer to AssumeRole."""
    return {
        "credentials": sorted(answer["Credentials"]),
        "key": answer["Credentials"]["AccessKeyId"][:4],
        "arn": answer["AssumedRoleUser"]["Arn"],
    }


TOKENS = [
    Step("tokens: who I am", "get_caller_identity", pick=lambda answer: answer["Account"], service="sts"),
    Step(
        "tokens: a role",
        "assume_role",
        lambda _: {"RoleArn": "arn:aws:iam::111111111111:role/shift", "RoleSessionName": "plugin"},
        pick=shape,
        service="sts",
    ),
]

END = [
    Step("delete: a group in use", "delete_target_group", lambda w: {"TargetGroupArn": w["stable"]}),
    Step("delete: a rule", "delete_rule", lambda w: {"RuleArn": w["shop"]}),
    Step("delete: the rule is gone", "describe_rules", lambda w: {"RuleArns": [w["shop"]]}),
    Step("delete: a rule again", "delete_rule", lambda w: {"RuleArn": w["shop"]}),
    Step("delete: a listener", "delete_listener", lambda w: {"ListenerArn": w["tcp"]}),
    Step("delete: a listener again", "delete_listener", lambda w: {"ListenerArn": w["tcp"]}),
    Step("delete: a group", "delete_target_group", lambda w: {"TargetGroupArn": w["wire-canary"]}),
    Step("delete: a group again", "delete_target_group", lambda w: {"TargetGroupArn": w["wire-canary"]}),
    Step("delete: a load balancer", "delete_load_balancer", lambda w: {"LoadBalancerArn": w["alb"]}),
    Step("delete: a load balancer again", "delete_load_balancer", lambda w: {"LoadBalancerArn": w["alb"]}),
    Step("delete: its listener went with it", "describe_listeners", lambda w: {"ListenerArns": [w["http"]]}),
]
