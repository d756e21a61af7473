# Source `bindings`: the load balancer, its rule and the bindings are Terraform's. rollout.yaml has the rest.
#
# Terraform makes the rule with both target groups, and from then on the weights are the plugin's.

variable "vpc_id" { type = string }
variable "listener_arn" { type = string }

resource "aws_lb_target_group" "web" {
  for_each = toset(["stable", "canary"])

  name        = "web-${each.key}"
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = 80

  health_check { path = "/healthz" }
}

resource "aws_lb_listener_rule" "web" {
  listener_arn = var.listener_arn
  priority     = 100

  condition {
    path_pattern { values = ["/*"] }
  }

  action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.web["stable"].arn
        weight = 100
      }
      # With weight 0 its targets are health-checked before they get traffic.
      target_group {
        arn    = aws_lb_target_group.web["canary"].arn
        weight = 0
      }
    }
  }

  # Without this each apply would put the first weights back, in mid-update too. Terraform cannot ignore the weights alone: who
  # changes the action here takes this out for one apply, while no update is under way.
  lifecycle {
    ignore_changes = [action]
  }
}

# The AWS Load Balancer Controller registers the pods behind the Services in the groups. It touches no rule for that.
resource "kubernetes_manifest" "binding" {
  for_each = aws_lb_target_group.web

  manifest = {
    apiVersion = "elbv2.k8s.aws/v1beta1"
    kind       = "TargetGroupBinding"
    metadata   = { name = "web-${each.key}", namespace = "shop" }
    spec = {
      serviceRef     = { name = "web-${each.key}", port = 80 }
      targetType     = "ip"
      targetGroupARN = each.value.arn
    }
  }
}
