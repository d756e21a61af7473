//! An entry of `{}`: target groups, rules and their owner are found by themselves, or nothing is changed.

use super::gates::{NEW, OLD, update};
use super::*;
use crate::cluster::Maker;
use crate::rollout::WeightDestination;

/// As [`update`], with ready Pods, an entry of `{}`, and target groups that this one bound.
fn found(maker: Maker) -> (Arc<Fake>, Rollout) {
    let (fake, mut rollout) = update(false);
    fake.register("canary", NEW);
    edit_entry(&mut rollout, |entry| *entry = json!({}));
    fake.bind("shop/web-stable", "stable", maker);
    fake.bind("shop/web-canary", "canary", maker);
    fake.rollout.send_replace(Some(rollout.clone()));
    (fake, rollout)
}

fn made_for(fake: &Fake, name: &str, resource: &str) {
    fake.tag(group(name).as_str(), "ingress.k8s.aws/resource", resource);
}

/// As [`found`], through the Ingress `web` that a load balancer controller follows.
fn through_an_ingress() -> (Arc<Fake>, Rollout) {
    let (fake, rollout) = found(Maker::Ingress);
    fake.route_through("web", "web-root", &[("web-stable", 100), ("web-canary", 0)]);
    made_for(&fake, "stable", "shop/web-web-stable:80");
    made_for(&fake, "canary", "shop/web-web-canary:80");
    (fake, rollout)
}

fn announced_to(fake: &Fake) -> Vec<String> {
    fake.announcements().into_iter().map(|(ingress, _)| ingress).collect()
}

fn nothing_was_changed(fake: &Fake) {
    let calls = fake.calls();
    assert!(!calls.iter().any(|call| call.starts_with("write") || call == "announce"), "{calls:?}");
}

fn experiment(weight: i32) -> WeightDestination {
    WeightDestination { weight, service_name: "exp".to_owned(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn bindings_that_were_made_by_hand_lead_to_rules_that_nobody_else_writes() {
    let (fake, rollout) = found(Maker::Somebody);
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!((fake.shares(), fake.announced().len()), (vec![("http", 90, 10)], 0));
    // The host writes to the Rollout now, so nobody else does.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(fake.notes().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (annotation, value) = fake.notes().remove(0);
    let value: serde_json::Value = serde_json::from_str(&value).unwrap();
    assert_eq!(
        (annotation.as_str(), &value["canary"][0]),
        ("trafficrouter-alb/targets", &json!(group("canary").as_str()))
    );
    assert_eq!(value["rules"], json!([arn("http").as_str()]));
}

#[tokio::test(start_paused = true)]
async fn what_was_made_for_an_ingress_is_announced_there() {
    let (fake, rollout) = through_an_ingress();
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!((announced_to(&fake), fake.announced()), (vec!["web".to_owned()], vec![vec![90, 10]]));
    assert_eq!(fake.shares(), [("http", 180, 20)], "in numbers that the controller did not write");
}

/// As [`through_an_ingress`], and through another one, whose rule is `a`.
fn through_two_ingresses() -> (Arc<Fake>, Rollout) {
    let (fake, rollout) = through_an_ingress();
    fake.set("a", &[("stable-2", 1), ("canary-2", 0)]);
    fake.bind("shop/web-stable", "stable-2", Maker::Ingress);
    fake.bind("shop/web-canary", "canary-2", Maker::Ingress);
    fake.register("canary-2", NEW);
    fake.route_through("internal", "web-root", &[("web-stable", 1), ("web-canary", 0)]);
    made_for(&fake, "stable-2", "shop/internal-web-stable:80");
    made_for(&fake, "canary-2", "shop/internal-web-canary:80");
    (fake, rollout)
}

#[tokio::test(start_paused = true)]
async fn each_ingress_has_groups_of_its_own_and_all_are_shifted() {
    let (fake, rollout) = through_two_ingresses();
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(announced_to(&fake), ["internal", "web"]);
    assert_eq!((fake.weights("http"), fake.weights("a")), (vec![180, 20], vec![180, 20]));
}

#[tokio::test(start_paused = true)]
async fn an_ingress_that_is_not_named_is_left_alone_unless_stable_pods_go_away_under_it() {
    let (fake, mut rollout) = through_two_ingresses();
    edit_entry(&mut rollout, |entry| *entry = json!({"ingress": "web"}));
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(announced_to(&fake), ["web"]);
    assert_eq!((fake.weights("http"), fake.weights("a")), (vec![180, 20], vec![1, 0]));

    let (fake, mut rollout) = through_two_ingresses();
    edit_entry(&mut rollout, |entry| *entry = json!({"ingress": "web"}));
    rollout.spec.strategy.canary.as_mut().unwrap().dynamic_stable_scale = true;
    let error = error_of(&router(&fake), &rollout, 10).await;
    assert!(error.contains("was made for Ingress shop/internal-web-") && error.contains("name it too"), "{error}");
    nothing_was_changed(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_group_with_too_few_pods_holds_all_of_them() {
    let (fake, rollout) = found(Maker::Somebody);
    fake.set("a", &[("stable-2", 1), ("canary-2", 0)]);
    fake.bind("shop/web-stable", "stable-2", Maker::Somebody);
    fake.bind("shop/web-canary", "canary-2", Maker::Somebody);
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    assert_eq!((fake.weights("http"), fake.weights("a")), (vec![100, 0], vec![1, 0]));
}

/// What somebody may have built, by mistake or on purpose, so that a Rollout would shift what is not its own.
#[tokio::test(start_paused = true)]
async fn what_is_not_the_rollouts_own_is_refused_with_nothing_changed() {
    type Trick = fn(&Fake, &mut Rollout);
    let tricks: [(Maker, Trick, &str); 13] = [
        // The label says that it is an Ingress's of this namespace; the group's tag knows better.
        (
            Maker::Ingress,
            |fake, _| made_for(fake, "stable", "bank/web-web-stable:80"),
            "belongs to bank/web-web-stable:80",
        ),
        // One group says nothing and the author names an Ingress; the other group is somebody else's.
        (
            Maker::Ingress,
            |fake, rollout| {
                edit_entry(rollout, |entry| *entry = json!({"ingress": "web"}));
                made_for(fake, "canary", "bank/web-web-canary:80");
            },
            "belongs to bank/web-web-canary:80",
        ),
        // A namespace whose name begins as ours does.
        (
            Maker::Ingress,
            |fake, _| made_for(fake, "stable", "shop-2/web-web-stable:80"),
            "belongs to shop-2/web-web-stable:80",
        ),
        // Another Rollout's Service of the same namespace.
        (
            Maker::Ingress,
            |fake, _| {
                fake.route_through("web", "root", &[("web-stable", 1), ("web-canary", 0)]);
                made_for(fake, "stable", "shop/web-pay:80");
            },
            "belongs to shop/web-pay:80",
        ),
        // Nothing says whose it is, and the author names an Ingress. Another namespace binds the group, too.
        (
            Maker::Ingress,
            |fake, rollout| {
                edit_entry(rollout, |entry| *entry = json!({"ingress": "web"}));
                fake.bind("bank/pay", "stable", Maker::Somebody);
            },
            "bound by TargetGroupBinding bank/stable-binding too",
        ),
        (
            Maker::Somebody,
            |fake, _| fake.bind("bank/pay", "canary", Maker::Somebody),
            "bound by TargetGroupBinding bank/canary-binding",
        ),
        // Bindings by hand on what a controller owns: the group, the listener, the load balancer.
        (
            Maker::Somebody,
            |fake, _| fake.tag(group("stable").as_str(), "ingress.k8s.aws/stack", "bank/pay"),
            "ingress.k8s.aws/stack: bank/pay",
        ),
        (
            Maker::Somebody,
            |fake, _| fake.tag(&arn("http").listener(), "ingress.k8s.aws/stack", "everyone"),
            "forward to the Services by name in Ingress everyone",
        ),
        (
            Maker::Somebody,
            |fake, _| fake.tag(&arn("http").load_balancer(), "gateway.k8s.aws.alb/stack", "bank/gate"),
            "gateway.k8s.aws.alb/stack: bank/gate",
        ),
        (Maker::Gateway, |_, _| (), "for a Gateway"),
        (Maker::Service, |_, _| (), "for a Service of type LoadBalancer"),
        // Nobody allowed the role.
        (
            Maker::Somebody,
            |_, rollout| edit_entry(rollout, |entry| *entry = json!({"assumeRoleArn": "arn:aws:iam::2:role/admin"})),
            "has not allowed namespace shop to name arn:aws:iam::2:role/admin",
        ),
        (
            Maker::Somebody,
            |fake, _| {
                fake.set("http", &[("stable", 1), ("canary", 0), ("stable-2", 1)]);
                fake.bind("shop/web-stable", "stable-2", Maker::Somebody);
            },
            "say which port is meant: servicePort",
        ),
    ];
    for (maker, trick, part) in tricks {
        let (fake, mut rollout) = found(maker);
        trick(&fake, &mut rollout);
        let allow = vec!["shop=arn:aws:elasticloadbalancing:*".parse().unwrap()];
        let router = router_with(Settings { allow, ..settings() }, &fake);
        let error = error_of(&router, &rollout, 10).await;
        assert!(error.contains(part), "{part} in {error}");
        nothing_was_changed(&fake);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_install_waits_for_whatever_is_not_there_yet_and_never_fails() {
    let (fake, mut rollout) = update(false);
    edit_entry(&mut rollout, |entry| *entry = json!({}));
    rollout.status.current_pod_hash = "old".to_owned();
    fake.select("web-canary", "old", OLD);
    fake.set("http", &[("other", 1)]);
    let router = router(&fake);
    let at_rest = async |why: &str| {
        router.set_weight(&rollout, 0, &[]).await.unwrap_or_else(|error| panic!("{why}: {error}"));
        let verified = router.verify_weight(&rollout, 0, &[]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        verified
    };
    assert_eq!(at_rest("no binding, no Ingress").await, Verification::NotVerified);
    nothing_was_changed(&fake);
    // The Ingress comes, with a backend that leads to our Pods and has no action yet.
    fake.select("web-root", "old", OLD);
    fake.route_through("web", "web-root", &[]);
    assert_eq!(at_rest("no action").await, Verification::NotVerified);
    let (ingress, said) = fake.announcements().remove(0);
    assert_eq!(
        (ingress.as_str(), said.weights),
        ("web", vec![("web-stable".to_owned(), 100), ("web-canary".to_owned(), 0)])
    );
    assert_eq!(said.root.map(|(action, port)| (action, port.0)), Some(("web-root".to_owned(), "80".to_owned())));
    fake.route_through("web", "web-root", &[("web-stable", 100), ("web-canary", 0)]);
    assert_eq!(at_rest("no groups").await, Verification::NotVerified);
    fake.bind("shop/web-stable", "stable", Maker::Ingress);
    fake.bind("shop/web-canary", "canary", Maker::Ingress);
    made_for(&fake, "stable", "shop/web-web-stable:80");
    made_for(&fake, "canary", "shop/web-web-canary:80");
    assert_eq!(at_rest("no rule").await, Verification::NotVerified);
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    for _ in 0..3 {
        at_rest("all is there").await;
    }
    assert_eq!(at_rest("all is there").await, Verification::Verified);
    assert_eq!(fake.weights("http"), [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn beside_the_built_in_router_a_step_is_held_until_others_made_it_true() {
    let (fake, mut rollout) = through_an_ingress();
    let canary = rollout.spec.strategy.canary.as_mut().unwrap();
    canary.dynamic_stable_scale = true;
    canary.traffic_routing.as_mut().unwrap().alb = Some(Present {});
    let router = router(&fake);
    let began = Instant::now();
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 10, &[]), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        fake.set("http", &[("stable", 90), ("canary", 10)]);
    });
    answer.unwrap();
    assert!((20..=23).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let error = error_of(&router, &rollout, 50).await;
    assert!(
        error.contains("90:10 where 50:50 is wished") && error.contains("the actions of Ingress web do not show"),
        "{error}"
    );
    nothing_was_changed(&fake);
    assert!(fake.notes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_experiments_group_of_another_namespace_is_refused_too() {
    let (fake, rollout) = through_an_ingress();
    fake.select("exp", "exp", 40..41);
    fake.register("exp", 40..41);
    fake.bind("shop/exp", "exp", Maker::Ingress);
    made_for(&fake, "exp", "bank/web-exp:80");
    fake.set("http", &[("stable", 100), ("canary", 0), ("exp", 0)]);
    let error = router(&fake).set_weight(&rollout, 10, &[experiment(5)]).await.unwrap_err().to_string();
    assert!(error.contains("belongs to bank/web-exp:80"), "{error}");
    nothing_was_changed(&fake);
}

#[tokio::test(start_paused = true)]
async fn an_experiment_gets_its_group_its_part_and_leaves_at_once() {
    let (fake, mut rollout) = through_an_ingress();
    fake.select("exp", "exp", 40..41);
    let router = router(&fake);
    let further = [experiment(5)];
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 10, &further), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        // Announced with nothing, beside what the others have: its owner makes the group.
        let (_, said) = fake.announcements().pop().unwrap();
        assert_eq!(said.weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [100, 0, 0]);
        fake.route_through("web", "web-root", &[("web-stable", 100), ("web-canary", 0), ("exp", 0)]);
        fake.bind("shop/exp", "exp", Maker::Ingress);
        made_for(&fake, "exp", "shop/web-exp:80");
        fake.set("http", &[("stable", 100), ("canary", 0), ("exp", 0)]);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(fake.weights("http"), [100, 0, 0], "its Pod is no healthy target yet");
        fake.register("exp", 40..41);
    });
    answer.unwrap();
    assert_eq!(fake.weights("http"), [170, 20, 10]);
    // Whoever took it out of the Ingress meanwhile did so in vain.
    let (_, said) = fake.announcements().pop().unwrap();
    assert_eq!(said.joining.iter().map(|joining| joining.service.as_str()).collect::<Vec<_>>(), ["exp"]);
    let recorded = json!({"weights": {"additional": [{"serviceName": "exp", "weight": 5}]}});
    rollout.status.canary = serde_json::from_value(recorded).unwrap();
    // It has ended: its Pods are gone, and nobody waits for them.
    fake.register("exp", []);
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 10, &[]), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fake.weights("http"), [180, 20, 0]);
        fake.set("http", &[("stable", 90), ("canary", 10)]);
    });
    answer.unwrap();
    let (_, said) = fake.announcements().pop().unwrap();
    assert_eq!((said.leaving, said.weights.len()), (vec!["exp".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn an_experiments_group_that_no_rule_knows_comes_in_with_nothing_so_that_its_targets_are_checked() {
    let (fake, mut rollout) = found(Maker::Somebody);
    fake.select("exp", "exp", 40..41);
    // Its port is not the author's to say.
    edit_entry(&mut rollout, |entry| *entry = json!({"servicePort": 80}));
    fake.bind_port("shop/exp", "8080", "exp", Maker::Somebody);
    let router = router(&fake);
    let further = [experiment(5)];
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 10, &further), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(fake.weights("http"), [100, 0, 0]);
        fake.register("exp", 40..41);
    });
    answer.unwrap();
    assert_eq!(fake.weights("http"), [85, 10, 5]);
    let writes = fake.calls().into_iter().filter(|call| call.starts_with("write")).count();
    assert_eq!(writes, 2);
}
