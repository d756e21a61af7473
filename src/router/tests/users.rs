//! What happened to users of weighted target groups and Argo Rollouts, and cannot happen here. Each test is named after the thread
//! in which people told it. Threads: github.com/argoproj/argo-rollouts (`argo_rollouts_N`), github.com/kubernetes-sigs/
//! aws-load-balancer-controller (`lbc_N`), github.com/argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi (`gateway_api_N`).
//!
//! | what happened | shown by |
//! | --- | --- |
//! | lbc 3588: 70 s between annotation and rule | [`confirmed`] |
//! | 3926: stable is scaled before the weights are true; scaling by recorded weights | [`confirmed`] |
//! | 3586: 503 at weight 100 with dynamicStableScale | [`confirmed`] |
//! | 3333: an error of the verification promotes | [`confirmed`] |
//! | 4867: the old canary's deadline begins before traffic has left it | [`confirmed`] |
//! | 3617, 4534: an interrupted update (the part that a router can do) | [`confirmed`] |
//! | 701: a step ends before its weight is true | [`confirmed`] |
//! | lbc 1871, 2809: a throttled account | [`confirmed`]; `alb/shared/tests/writes.rs` |
//! | gateway-api 95: routes to remove that are not there | [`confirmed`] |
//! | 2471, 709, 710, 2639: several rules, the later ones forgotten | [`found`]; groups of a second load balancer are not ours yet |
//! | 2998: several rules for one Service | [`found`] |
//! | 1963: a load balancer beyond the 300th | [`found`]; pages are followed in `alb/aws.rs` |
//! | 2569: more ARNs than one call takes | [`found`]; `alb/shared/tests/reads.rs` |
//! | 1572: what else the rule holds is overwritten | [`found`]; stickiness and other actions in `alb/rule.rs` |
//! | 4184, 3628: ping-pong's roles mixed up | [`found`] |
//! | 4433, 4510: after a promotion traffic meets an empty stable group | [`gated`] |
//! | 2864: the same with more than 300 targets | [`gated`] |
//! | 2064, 1826: after a promotion the old version is back for a while | [`gated`] |
//! | lbc 4889: targets that nobody repairs for half an hour | [`gated`] |
//! | 4752: weight before a moved selector has arrived | [`gated`] |
//! | promoted in full, or without steps: no weight 100 ever asked for | `without_steps_the_host_is_held_until_the_new_group_can_take_over` in `gates.rs` |
//! | 4595: the load balancer's nodes lag behind its API | [`held`] |
//! | 4926, 4925, 4337: a delay for every step | [`held`] |
//! | 3918: a start that failed once | `arguments_that_cannot_be_used_are_an_error_of_the_call`: the plugin starts, and its calls say what is wrong |
//! | 4334, 4368: EKS Auto Mode; 1241, 1608: ARNs for metrics | nothing yet: groups are named by their ARNs |

use std::time::Duration;

mod confirmed;
mod found;
mod gated;
mod held;
mod host;

/// How long weights stay true before Pods may go. As the program's default.
const SETTLE: Duration = Duration::from_secs(10);
