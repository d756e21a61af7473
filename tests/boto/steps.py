"""The calls that both endpoints get, one after the other.

A step that moto answers wrongly leaves the worlds alike for the next: it works on things of its own, or the step after
it sets the same state again.
"""

from dataclasses import dataclass, field
from typing import Callable


def everything(answer):
    return answer


@dataclass
class Step:
    """One call: its name in the table of differences, the method of boto3's client, and the parameters."""

    name: str
    method: str
    parameters: Callable = field(default=lambda _: {})
    # What to remember of the answer, by name.
    keep: dict = field(default_factory=dict)
    # The part of the answer that is compared.
    pick: Callable = everything
    service: str = "elbv2"


def first(kind, key):
    return lambda answer: answer[kind][0][key]


def part(key):
    """One part of the first rule; none and an empty one are the same."""
    return lambda answer: answer["Rules"][0].get(key) or "none"


def forward(world, *groups, **more):
    tuples = [{"TargetGroupArn": world[name], "Weight": weight} for name, weight in groups]
    return [{"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": tuples, **more}}]


def host(*names):
    return [{"Field": "host-header", "HostHeaderConfig": {"Values": list(names)}}]


def oidc(**more):
    idp = "https://login.example.com"
    config = {
        "Issuer": idp,
        "AuthorizationEndpoint": f"{idp}/authorize",
        "TokenEndpoint": f"{idp}/token",
        "UserInfoEndpoint": f"{idp}/userinfo",
        "ClientId": "shop",
        **more,
    }
    return {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": config}


def after_login(world, login):
    [split] = forward(world, ("stable", 1), ("canary", 1))
    return [login, {**split, "Order": 2}]


def gone(arn):
    """A well-formed name of something that was never there."""
    return f"{arn.rpartition('/')[0]}/0123456789abcdef"


def group(name, **more):
    settings = {"Protocol": "HTTP", "Port": 8080, "TargetType": "ip", **more}
    return Step(
        f"a target group {name}",
        "create_target_group",
        lambda w: {"Name": name, "VpcId": w["vpc"], **settings},
        {name: first("TargetGroups", "TargetGroupArn")},
    )


def rule(name, priority, actions, conditions=None, listener="http", pick=everything, **more):
    def parameters(world):
        wanted = {"ListenerArn": world[listener], "Priority": priority, "Actions": actions(world), **more}
        wanted["Conditions"] = host(f"{name.replace(' ', '-')}.example.com") if conditions is None else conditions
        return wanted

    return Step(f"a rule: {name}", "create_rule", parameters, {name: first("Rules", "RuleArn")}, pick)


def modify(name, actions, of="shop"):
    return Step(f"modify: {name}", "modify_rule", lambda w: {"RuleArn": w[of], "Actions": actions(w)})


def split(**more):
    return lambda w: forward(w, ("stable", 90), ("canary", 10), **more)


def rules_of(name, pick=everything):
    return Step(f"rule {name} as described", "describe_rules", lambda w: {"RuleArns": [w[name]]}, pick=pick)


def order_of(listener):
    def priorities(answer):
        return [rule["Priority"] for rule in answer["Rules"]]

    return Step(
        f"the order of rules on {listener}", "describe_rules", lambda w: {"ListenerArn": w[listener]}, pick=priorities
    )


def health(name, targets=None, of="stable"):
    wanted = {"Targets": targets} if targets else {}
    return Step(f"health: {name}", "describe_target_health", lambda w: {"TargetGroupArn": w[of], **wanted})


def target(address, **more):
    return {"Id": address, "Port": 8080, **more}


def attributes(method, resource, *keys, **more):
    """Describe or modify attributes, and compare those of the given keys."""
    kind = {"load_balancer": "LoadBalancerArn", "target_group": "TargetGroupArn"}

    def pick(answer):
        found = {attribute["Key"]: attribute["Value"] for attribute in answer["Attributes"]}
        return {key: found.get(key) for key in keys}

    noun = "load_balancer" if resource == "alb" else "target_group"
    return lambda name, given=None: Step(
        name,
        f"{method}_{noun}_attributes",
        lambda w: {kind[noun]: w[resource]} | ({"Attributes": given} if given else {}),
        pick=pick,
        **more,
    )


SET_UP = [
    Step(
        "a load balancer",
        "create_load_balancer",
        lambda w: {"Name": "shop", "Subnets": [w["subnet a"], w["subnet b"]], "Scheme": "internal"},
        {"alb": first("LoadBalancers", "LoadBalancerArn")},
    ),
    Step("load balancers as described", "describe_load_balancers"),
    Step("a load balancer that is not there", "describe_load_balancers", lambda _: {"Names": ["nobody"]}),
    group("stable"),
    group("canary"),
    group("foreign", HealthCheckPath="/ready", HealthCheckIntervalSeconds=10, Matcher={"HttpCode": "200-299"}),
    group("spare"),
    Step(
        "a target group without a port",
        "create_target_group",
        lambda w: {"Name": "x", "Protocol": "HTTP", "VpcId": w["vpc"]},
    ),
    Step(
        "a listener on port 80",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["alb"],
            "Protocol": "HTTP",
            "Port": 80,
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": w["stable"]}],
        },
        {"http": first("Listeners", "ListenerArn")},
    ),
    Step(
        "a listener on port 443",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["alb"],
            "Protocol": "HTTPS",
            "Port": 443,
            "Certificates": [{"CertificateArn": w["certificate"]}],
            "DefaultActions": [{"Type": "fixed-response", "Order": 1, "FixedResponseConfig": {"StatusCode": "404"}}],
        },
        {"https": first("Listeners", "ListenerArn")},
    ),
    Step(
        "a listener with a protocol of the other type",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["alb"],
            "Protocol": "TCP",
            "Port": 81,
            "DefaultActions": forward(w, ("stable", 1)),
        },
    ),
    Step("listeners without a choice", "describe_listeners"),
    Step("a listener that is not there", "describe_listeners", lambda w: {"ListenerArns": [gone(w["http"])]}),
]

RULES = [
    rule("shop", 10, lambda w: forward(w, ("stable", 100), ("canary", 0))),
    rules_of("shop"),
    modify("weights", split()),
    rules_of("shop"),
    modify("stickiness", split(TargetGroupStickinessConfig={"Enabled": True, "DurationSeconds": 60})),
    modify("the bounds of weights", lambda w: forward(w, ("stable", 999), ("canary", 0))),
    modify("all weights 0", lambda w: forward(w, ("stable", 0), ("canary", 0))),
    modify("one group by its ARN", lambda w: [{"Type": "forward", "TargetGroupArn": w["stable"]}]),
    modify("a group that is not there", lambda w: [{"Type": "forward", "TargetGroupArn": gone(w["stable"])}]),
    Step(
        "modify: a rule that is not there", "modify_rule", lambda w: {"RuleArn": gone(w["shop"]), "Actions": split()(w)}
    ),
    Step("modify: not an ARN", "modify_rule", lambda w: {"RuleArn": "shop", "Actions": split()(w)}),
    Step("modify: nothing", "modify_rule", lambda w: {"RuleArn": w["shop"]}),
    rule("victim", 11, split()),
    modify("weight 1000", lambda w: forward(w, ("stable", 1000), ("canary", 0)), "victim"),
    modify("weight -1", lambda w: forward(w, ("stable", -1), ("canary", 0)), "victim"),
    modify("a group twice", lambda w: forward(w, ("stable", 1), ("stable", 1)), "victim"),
    modify("six groups", lambda w: forward(w, *[("stable", 1)] * 6), "victim"),
    modify("sticky without a duration", split(TargetGroupStickinessConfig={"Enabled": True}), "victim"),
    modify("an ARN beside two groups", lambda w: [{**split()(w)[0], "TargetGroupArn": w["stable"]}], "victim"),
    rule("plain", 12, lambda w: [{"Type": "forward", "TargetGroupArn": w["stable"]}]),
    rule(
        "elsewhere",
        13,
        lambda w: [{"Type": "redirect", "Order": 1, "RedirectConfig": {"Port": "443", "StatusCode": "HTTP_301"}}],
    ),
    rule("in use", 10, split()),
    rule("out of range", 50_001, split()),
    rule("six values", 20, split(), host(*[f"h{number}.example.com" for number in range(6)])),
    rule("without conditions", 21, split(), []),
    rule(
        "by regex",
        22,
        split(),
        [{"Field": "host-header", "HostHeaderConfig": {"RegexValues": ["^a.*$"]}}],
        pick=part("Conditions"),
    ),
    rule(
        "by header",
        23,
        split(),
        [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x-canary", "Values": ["1"]}}],
    ),
    rule(
        "by query",
        24,
        split(),
        [{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "2"}]}}],
    ),
    rule("by method", 25, split(), [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}}]),
    rule("by address", 26, split(), [{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}]),
    rule("by cookie", 27, split(), [{"Field": "cookie", "Values": ["a"]}]),
    rule(
        "rewritten",
        28,
        split(),
        pick=part("Transforms"),
        Transforms=[{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/a$", "Replace": "/b"}]}}],
    ),
    Step(
        "modify: no transforms any more",
        "modify_rule",
        lambda w: {"RuleArn": w["rewritten"], "ResetTransforms": True},
        pick=part("Transforms"),
    ),
]

LOGIN = [
    rule("login", 10, lambda w: after_login(w, oidc(ClientSecret="x")), listener="https"),
    rules_of("login"),
    modify("login without a secret", lambda w: after_login(w, oidc()), "login"),
    modify(
        "login with the secret that is there", lambda w: after_login(w, oidc(UseExistingClientSecret=True)), "login"
    ),
    rules_of("login"),
    rule("login over HTTP", 30, lambda w: after_login(w, oidc(ClientSecret="x"))),
    rule(
        "tokens",
        11,
        lambda w: after_login(
            w,
            {
                "Type": "jwt-validation",
                "Order": 1,
                "JwtValidationConfig": {
                    "JwksEndpoint": "https://login.example.com/jwks",
                    "Issuer": "https://login.example.com",
                },
            },
        ),
        listener="https",
        pick=lambda answer: answer["Rules"][0]["Actions"][0],
    ),
]


def default_rule(answer):
    return next(rule["RuleArn"] for rule in answer["Rules"] if rule["IsDefault"])


DEFAULTS = [
    Step(
        "default: its rule",
        "describe_rules",
        lambda w: {"ListenerArn": w["http"]},
        {"default": default_rule},
        lambda _: "kept",
    ),
    Step(
        "default: weights through the listener",
        "modify_listener",
        lambda w: {"ListenerArn": w["http"], "DefaultActions": split()(w)},
    ),
    Step("default: the listener as described", "describe_listeners", lambda w: {"ListenerArns": [w["http"]]}),
    rules_of("default"),
    modify("the default rule", lambda w: forward(w, ("stable", 1), ("canary", 1)), "default"),
    Step("delete: the default rule", "delete_rule", lambda w: {"RuleArn": w["default"]}),
]

ORDER = [
    Step(
        "order: a listener of its own",
        "create_listener",
        lambda w: {
            "LoadBalancerArn": w["alb"],
            "Protocol": "HTTP",
            "Port": 8080,
            "DefaultActions": forward(w, ("stable", 1)),
        },
        {"ordered": first("Listeners", "ListenerArn")},
    ),
    rule("second", 20, split(), listener="ordered"),
    rule("first", 10, split(), listener="ordered"),
    order_of("ordered"),
    *(
        Step(
            f"order: {name}",
            "set_rule_priorities",
            lambda w, wanted=wanted: {"RulePriorities": [{"RuleArn": w[of], "Priority": to} for of, to in wanted]},
            pick=lambda answer: [rule["Priority"] for rule in answer["Rules"]],
        )
        for name, wanted in [
            ("one move", [("first", 5)]),
            ("a conflict", [("first", 20)]),
            ("one priority for two", [("first", 7), ("second", 7)]),
            ("the default rule", [("default", 9)]),
            ("a swap", [("first", 20), ("second", 5)]),
        ]
    ),
]
