use super::*;
use crate::control_plane::fixture::{Shop, at_group_port, pass};
use crate::control_plane::model::targets::{NodeHealth, Probing};
use crate::control_plane::operations::DeleteTargetGroup;

const REFUSED: NodeHealth = NodeHealth::Unhealthy("Target.FailedHealthChecks", "Health checks failed");

#[tokio::test(start_paused = true)]
async fn a_target_drains_for_the_delay_of_its_group_and_is_gone() {
    let shop = Shop::new();
    shop.register(&shop.stable, &["10.0.0.1", "10.0.0.2:9090"]).expect("two targets");
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 healthy", "10.0.0.2:9090 healthy"]);
    shop.deregister(&shop.stable, &["10.0.0.1"]).expect("one goes");
    let draining = "10.0.0.1:8080 draining Target.DeregistrationInProgress";
    pass(299).await;
    assert_eq!(shop.health(&shop.stable, &[]), [draining, "10.0.0.2:9090 healthy"]);
    pass(1).await;
    // Nothing has been written: a read sees the time of the call.
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.2:9090 healthy"]);
    assert_eq!(shop.health(&shop.stable, &["10.0.0.1"]), ["10.0.0.1:8080 unused Target.NotRegistered"]);
    shop.rule_at(20).expect("any write");
    assert_eq!(shop.control_plane.account().registrations.len(), 1, "a write forgets it");
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_an_attribute() {
    let shop = Shop::new();
    let key = "deregistration_delay.timeout_seconds";
    shop.set_attribute(&shop.stable, key, "5").expect("a delay");
    assert_eq!(shop.set_attribute(&shop.stable, key, "3601").expect_err("too long").code, "ValidationError");
    shop.register(&shop.stable, &["10.0.0.1"]).expect("a target");
    shop.deregister(&shop.stable, &["10.0.0.1"]).expect("it goes");
    pass(4).await;
    shop.deregister(&shop.stable, &["10.0.0.1"]).expect("again, which changes nothing");
    pass(1).await;
    assert!(shop.health(&shop.stable, &[]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_draining_target_that_is_registered_again_comes_back_as_a_new_one() {
    let shop = Shop::new();
    shop.control_plane.set_probing(Probing::Nodes(1));
    shop.register(&shop.stable, &["10.0.0.1"]).expect("a target");
    let target = at_group_port("10.0.0.1");
    shop.control_plane.report_health("node-1", &shop.stable, &target, NodeHealth::Healthy);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 healthy"]);
    shop.deregister(&shop.stable, &["10.0.0.1"]).expect("it goes");
    pass(10).await;
    shop.register(&shop.stable, &["10.0.0.1"]).expect("it comes back");
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 initial Elb.RegistrationInProgress"]);
    pass(1000).await;
    assert_eq!(shop.health(&shop.stable, &[]).len(), 1, "it is not drained any more");
}

#[tokio::test(start_paused = true)]
async fn a_target_is_healthy_when_every_node_has_found_it_so() {
    let shop = Shop::new();
    shop.control_plane.set_probing(Probing::Nodes(2));
    shop.register(&shop.stable, &["10.0.0.1"]).expect("a target");
    let target = at_group_port("10.0.0.1");
    let report = |node, health| shop.control_plane.report_health(node, &shop.stable, &target, health);
    report("node-1", NodeHealth::Healthy);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 initial Elb.InitialHealthChecking"]);
    report("node-2", NodeHealth::Initial);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 initial Elb.InitialHealthChecking"]);
    report("node-2", NodeHealth::Healthy);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 healthy"]);
    report("node-1", REFUSED);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 unhealthy Target.FailedHealthChecks"]);

    shop.register(&shop.stable, &["10.0.0.2"]).expect("another one");
    let other = shop.health(&shop.stable, &["10.0.0.2"]);
    assert_eq!(other, ["10.0.0.2:8080 initial Elb.RegistrationInProgress"], "nodes are expected to probe it");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_targets_that_are_gone() {
    let shop = Shop::new();
    let target = at_group_port("10.0.0.1");
    shop.control_plane.report_health("node-1", &shop.stable, &target, REFUSED);
    shop.control_plane.report_health("node-1", "not a group", &target, REFUSED);
    assert!(shop.control_plane.account().health.is_empty(), "it was never registered");
    shop.register(&shop.stable, &["10.0.0.1"]).expect("a target");
    shop.control_plane.report_health("node-1", &shop.stable, &target, NodeHealth::Healthy);
    shop.deregister(&shop.stable, &["10.0.0.1"]).expect("it goes");
    pass(300).await;
    shop.control_plane.report_health("node-1", &shop.stable, &target, REFUSED);
    shop.rule_at(20).expect("any write");
    assert!(shop.control_plane.account().health.is_empty());

    let spare = shop.group("spare");
    shop.register(&spare, &["10.0.0.1"]).expect("a target");
    shop.write(DeleteTargetGroup { target_group_arn: spare }).expect("no rule names it");
    assert!(shop.control_plane.account().registrations.is_empty(), "targets go with their group");
}

#[tokio::test(start_paused = true)]
async fn nobody_probes_without_a_data_plane() {
    let shop = Shop::new();
    shop.control_plane.set_probing(Probing::Nobody { healthy_after: std::time::Duration::from_secs(30) });
    let spare = shop.group("spare");
    shop.register(&spare, &["10.0.0.1"]).expect("a target");
    shop.register(&shop.canary, &["10.0.0.1"]).expect("weight 0 is in use too");
    pass(29).await;
    assert_eq!(shop.health(&shop.canary, &[]), ["10.0.0.1:8080 initial Elb.InitialHealthChecking"]);
    pass(1).await;
    assert_eq!(shop.health(&shop.canary, &[]), ["10.0.0.1:8080 healthy"]);
    assert_eq!(shop.health(&spare, &[]), ["10.0.0.1:8080 unused Target.NotInUse"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_target_is_refused() {
    let shop = Shop::new();
    for target in ["", "shop", "i-0123456789abcdef0", "8.8.8.8", "10.0.0.1:0"] {
        let error = shop.register(&shop.stable, &[target]).expect_err("must be refused");
        assert_eq!(error.code, "ValidationError", "{target}");
    }
    assert_eq!(shop.register(&shop.stable, &[]).expect_err("nobody").code, "ValidationError");
    let unknown = format!("{}0123456789abcdef", &shop.stable[..shop.stable.len() - 16]);
    assert_eq!(shop.register(&unknown, &["10.0.0.1"]).expect_err("no group").code, "TargetGroupNotFound");
    for target in ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1"] {
        shop.register(&shop.stable, &[target]).expect(target);
        shop.register(&shop.stable, &[target]).expect("again");
    }
    assert_eq!(shop.health(&shop.stable, &[]).len(), 5);
    shop.deregister(&shop.stable, &["10.9.9.9"]).expect("who is not there can go");

    let many: Vec<String> = (0..996).map(|port| format!("10.0.0.1:{}", port + 1)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(shop.register(&shop.stable, &many).expect_err("1001 targets").code, "TooManyTargets");
    shop.register(&shop.stable, &many[..995]).expect("1000 targets");
}

#[tokio::test(start_paused = true)]
async fn what_is_described_of_a_target() {
    let shop = Shop::new();
    shop.register(&shop.stable, &["10.0.0.1:9090"]).expect("a target");
    let describe = |targets, include| {
        let input = DescribeTargetHealth { target_group_arn: shop.stable.clone(), targets, include };
        let answer = input.read(&shop.control_plane.account(), shop.control_plane.now()).expect("an answer");
        answer.target_health_descriptions[0].clone()
    };
    let registered = describe(Vec::new(), vec![Include::All]);
    assert_eq!(registered.health_check_port.as_deref(), Some("9090"), "traffic-port is the port of the target");
    assert_eq!(registered.anomaly_detection.expect("asked for").result, "normal");
    let target = TargetDescription { id: "10.0.0.1".to_owned(), ..TargetDescription::default() };
    let other = describe(vec![target], Vec::new());
    assert_eq!(other.target.port, Some(8080), "without a port, that of the group is meant");
    assert_eq!((other.health_check_port, other.anomaly_detection.is_none()), (None, true));
    assert_eq!(other.target_health, TargetHealth::NOT_REGISTERED);
}
