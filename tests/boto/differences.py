"""Where moto is not AWS: what AWS answers, and who says so.

"Service model" is the model of API version 2015-12-01 that AWS ships in botocore, "API reference" the page of the
operation or type, "guide" the user guide for Application (ALB) or Network (NLB) Load Balancers.
"""

import fnmatch
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(eq=False)
class Answer:
    """The whole answer to one step."""

    step: str
    aws: Any
    source: str


@dataclass(eq=False)
class Part:
    """One place in the answers of some methods. `*` stands for anything, in the method and in the path."""

    method: str
    path: str
    aws: Any
    source: str

    def expected(self, path, answer):
        """What AWS has at that place, which may depend on the rest of the answer."""
        return self.aws(path, answer) if isinstance(self.aws, Callable) else self.aws


ABSENT = "(absent)"


def refused(code, status=400):
    return {"refused": code, "status": status}


def health(state, reason, description, port=None):
    described = {"Target": {"Id": "10.0.0.10", "Port": 8080}}
    if port is not None:
        described["HealthCheckPort"] = port
    described["TargetHealth"] = {"State": state, "Reason": reason, "Description": description}
    return {"TargetHealthDescriptions": [described]}


def of_stranger(described):
    described["TargetHealthDescriptions"][0]["Target"]["Id"] = "10.0.0.99"
    return described


def same_as(place, twin):
    """AWS says the same twice, in an older and a newer form."""
    return lambda path, answer: answer.get(path.replace(place, twin), ABSENT)


VALIDATION = refused("ValidationError")
FORWARD = "API reference, ForwardActionConfig"
LBC = "aws-load-balancer-controller, pkg/equality/elbv2/compare_option_for_actions.go: AWS fills in what it ignores"
RULE_QUOTAS = "ALB guide, Quotas: 5 condition values per rule"
OIDC = "API reference, AuthenticateOidcActionConfig"
HEALTH = "ALB guide, Health checks for target groups: target health status and reason codes"
GROUP_ATTRIBUTES = "API reference, TargetGroupAttribute"
BALANCER_ATTRIBUTES = "API reference, LoadBalancerAttribute"

ANSWERS = [
    Answer("modify: weight 1000", VALIDATION, f"{FORWARD}: the range is 0 to 999; aws/aws-cdk#24805 has the refusal"),
    Answer("modify: weight -1", VALIDATION, f"{FORWARD}: the range is 0 to 999; aws/aws-cdk#24805 has the refusal"),
    Answer("modify: a group twice", VALIDATION, f"{FORWARD}: one weight for each target group"),
    Answer("modify: six groups", VALIDATION, "ALB guide, Quotas: 5 target groups per action"),
    Answer(
        "modify: sticky without a duration",
        VALIDATION,
        "API reference, TargetGroupStickinessConfig: DurationSeconds is needed; app-sre/qontract-reconcile#2089",
    ),
    Answer(
        "modify: an ARN beside two groups",
        VALIDATION,
        "API reference, Action: with TargetGroupArn, ForwardConfig can have only that group",
    ),
    Answer("modify: not an ARN", VALIDATION, "a malformed ARN is refused before it is looked up"),
    Answer("a rule: out of range", VALIDATION, "service model, RulePriority: 1 to 50000"),
    Answer("a rule: six values", VALIDATION, RULE_QUOTAS),
    Answer(
        "a rule: without conditions",
        VALIDATION,
        "API reference, CreateRule: Conditions are required; an empty list is none",
    ),
    Answer(
        "a rule: by regex",
        [{"Field": "host-header", "HostHeaderConfig": {"RegexValues": ["^a.*$"]}}],
        "API reference, HostHeaderConditionConfig: RegexValues",
    ),
    Answer(
        "a rule: rewritten",
        [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/a$", "Replace": "/b"}]}}],
        "API reference, CreateRule: Transforms",
    ),
    Answer("modify: no transforms any more", "none", "API reference, ModifyRule: ResetTransforms"),
    Answer(
        "modify: login without a secret",
        refused("InvalidLoadBalancerAction"),
        f"{OIDC}: the secret, or UseExistingClientSecret; ansible-collections/amazon.aws#1877",
    ),
    Answer(
        "a rule: login over HTTP",
        refused("InvalidLoadBalancerAction"),
        "API reference, Action: AuthenticateOidcConfig is for HTTPS listeners",
    ),
    Answer(
        "a rule: tokens",
        {
            "Type": "jwt-validation",
            "Order": 1,
            "JwtValidationConfig": {
                "JwksEndpoint": "https://login.example.com/jwks",
                "Issuer": "https://login.example.com",
            },
        },
        "API reference, JwtValidationActionConfig",
    ),
    Answer(
        "modify: the default rule",
        refused("OperationNotPermitted"),
        "API reference, ModifyRule: to modify the actions of the default rule use ModifyListener",
    ),
    Answer(
        "delete: the default rule",
        refused("OperationNotPermitted"),
        "API reference, DeleteRule: you can't delete the default rule",
    ),
    Answer(
        "the order of rules on ordered",
        ["10", "20", "default"],
        "ALB guide, Listener rules: in order of priority, the default rule last",
    ),
    Answer(
        "order: the default rule",
        refused("OperationNotPermitted"),
        "ALB guide, Listener rules: you can't change the priority of the default rule",
    ),
    Answer(
        "order: a swap",
        ["20", "5"],
        "API reference, SetRulePriorities: as long as there are no conflicts in the new order",
    ),
    Answer(
        "health: of a stranger",
        of_stranger(health("unused", "Target.NotRegistered", "Target is not registered to the target group")),
        f"{HEALTH}; aws/aws-sdk-js#1593 and getmoto/moto#7692 have AWS's answer",
    ),
    Answer(
        "health: of one that goes",
        health("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress", "8080"),
        f"{HEALTH}; chaostoolkit-incubator/chaostoolkit-aws#60 has AWS's answer",
    ),
    Answer(
        "health: in no rule",
        health(
            "unused",
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
            "8080",
        ),
        HEALTH,
    ),
    Answer(
        "targets: a stranger goes",
        {},
        "API reference, DeregisterTargets: if the target does not exist, the action returns successfully",
    ),
    Answer(
        "targets: no address", VALIDATION, "API reference, TargetDescription: an IP address if the target type is ip"
    ),
    Answer(
        "attributes: another delay",
        {"deregistration_delay.timeout_seconds": "30", "slow_start.duration_seconds": "0"},
        "API reference, ModifyTargetGroupAttributes: its example answers with all attributes",
    ),
    Answer(
        "attributes: an hour",
        {"deregistration_delay.timeout_seconds": "3600", "slow_start.duration_seconds": "0"},
        f"{GROUP_ATTRIBUTES}: the range is 0-3600 seconds",
    ),
    Answer("attributes: a key that there is not", VALIDATION, "hashicorp/terraform-provider-aws#19953 has the refusal"),
    Answer(
        "attributes: a load balancer's defaults",
        {
            "deletion_protection.enabled": "false",
            "load_balancing.cross_zone.enabled": "true",
            "idle_timeout.timeout_seconds": "60",
        },
        BALANCER_ATTRIBUTES,
    ),
    Answer("attributes: a timeout out of range", VALIDATION, f"{BALANCER_ATTRIBUTES}: the range is 1-4000 seconds"),
    Answer(
        "target group: where it is used",
        ["<alb>"],
        "service model, TargetGroup: LoadBalancerArns; a group has one load balancer",
    ),
    Answer("tags: of 21", VALIDATION, "service model, DescribeTags: at most 20 resources"),
    Answer("tags: of a rule that is not there", refused("RuleNotFound"), "service model, DescribeTags: errors"),
    Answer("tags: of a group that is not there", refused("TargetGroupNotFound"), "service model, DescribeTags: errors"),
    Answer("many: rule 101", refused("TooManyRules"), "ALB guide, Quotas: 100 rules per load balancer"),
    Answer(
        "network: a group of the other type",
        refused("IncompatibleProtocols"),
        "hashicorp/terraform-provider-aws#4955 has the refusal",
    ),
    Answer("delete: a rule again", refused("RuleNotFound"), "service model, DeleteRule: errors"),
    Answer("delete: a group again", {}, "service model, DeleteTargetGroup has no TargetGroupNotFound among its errors"),
]

# The first that fits is taken, so the narrower path comes first.
PARTS = [
    Part("*", "*Actions(*).Order", 1, LBC),
    Part(
        "*",
        "*ForwardConfig.TargetGroups(0).TargetGroupArn",
        same_as(".ForwardConfig.TargetGroups[0].TargetGroupArn", ".TargetGroupArn"),
        LBC,
    ),
    Part(
        "*",
        "*Actions(*).TargetGroupArn",
        same_as(".TargetGroupArn", ".ForwardConfig.TargetGroups[0].TargetGroupArn"),
        LBC,
    ),
    Part("*", "*ForwardConfig.TargetGroups(0).Weight", 1, LBC),
    Part("*", "*ForwardConfig.TargetGroupStickinessConfig.Enabled", False, LBC),
    Part(
        "*",
        "*Conditions(*).Values(*)",
        same_as(".Values", ".HostHeaderConfig.Values"),
        "ansible-collections/amazon.aws, plugins/module_utils/elbv2.py: AWS answers both ways",
    ),
    Part(
        "create_rule",
        "*RedirectConfig.Protocol",
        "#{protocol}",
        "ALB guide, Redirect actions: what is not changed is kept",
    ),
    Part("create_rule", "*RedirectConfig.Host", "#{host}", "ALB guide, Redirect actions: what is not changed is kept"),
    Part("create_rule", "*RedirectConfig.Path", "/#{path}", "ALB guide, Redirect actions: what is not changed is kept"),
    Part(
        "create_rule", "*RedirectConfig.Query", "#{query}", "ALB guide, Redirect actions: what is not changed is kept"
    ),
    Part("*", "*OidcConfig.ClientSecret", ABSENT, "ansible-collections/amazon.aws#1877: it is never returned"),
    Part("*", "*OidcConfig.UseExistingClientSecret", ABSENT, f"{OIDC}: a word of the request"),
    Part("*", "*OidcConfig.OnUnauthenticatedRequest", "authenticate", f"{OIDC}: the default"),
    Part("*", "*OidcConfig.Scope", "openid", f"{OIDC}: the default"),
    Part("*", "*OidcConfig.SessionCookieName", "AWSELBAuthSessionCookie", f"{OIDC}: the default"),
    Part("*", "*OidcConfig.SessionTimeout", 604800, f"{OIDC}: the default"),
    Part("*", "Listeners(*).SslPolicy", ABSENT, "API reference, Listener: SslPolicy is for HTTPS and TLS listeners"),
    Part(
        "create_listener",
        "Listeners(*).MutualAuthentication.Mode",
        "off",
        "API reference, MutualAuthenticationAttributes: the default",
    ),
    Part(
        "describe_target_health",
        "*.HealthCheckPort",
        "8080",
        "service model, DescribeTargetHealth: its example has the number",
    ),
    Part(
        "*_target_group",
        "*.HealthCheckTimeoutSeconds",
        6,
        "service model, CreateTargetGroup: the default for HTTP is 6 seconds",
    ),
    Part("create_load_balancer", "*.Scheme", "internet-facing", "API reference, CreateLoadBalancer: the default"),
]

ALL = [*ANSWERS, *PARTS]


def of_answer(step):
    return next((known for known in ANSWERS if known.step == step), None)


def of_path(method, path):
    # In a pattern, `[` would begin a set of characters.
    plain = path.replace("[", "(").replace("]", ")")
    fits = (known for known in PARTS if fnmatch.fnmatch(method, known.method) and fnmatch.fnmatch(plain, known.path))
    return next(fits, None)
