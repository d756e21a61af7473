//! Calls in the name of roles: what each sees is its own, what AWS counts is one for all.

use std::slice::from_ref;

use super::*;

fn role(name: &str, external_id: Option<&str>) -> Role {
    let arn = format!("arn:aws:iam::1:role/{name}");
    Role { arn, external_id: external_id.map(str::to_owned), region: None }
}

#[tokio::test(start_paused = true)]
async fn calls_are_made_in_the_roles_name_and_looks_are_not_shared_between_names() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    let roles = [role("shift", Some("a")), role("shift", Some("b"))];
    let since = Instant::now();
    wait(1).await;
    shared.observe(from_ref(&rule(0)), since).await.unwrap();
    for role in &roles {
        for _ in 0..2 {
            // Whoever asks for the same role gets the same looks, though nobody held it meanwhile.
            Arc::clone(&shared).assuming(role).observe(from_ref(&rule(0)), since).await.unwrap();
        }
    }
    let names = [None, Some(roles[0].clone()), Some(roles[1].clone())];
    assert_eq!(aws.state().names, names);
}

#[tokio::test(start_paused = true)]
async fn all_names_write_from_one_bucket() {
    let aws = FakeAws::new(90, 1);
    let own = shared(&aws);
    let roles: Vec<_> = (0..3).map(|number| role(&format!("role-{number}"), None)).collect();
    let start = Instant::now();
    let writers = rules(90).into_iter().enumerate().map(|(number, arn)| {
        let balancer = match roles.get(number % 4) {
            Some(role) => Arc::clone(&own).assuming(role),
            None => Arc::clone(&own) as Arc<dyn LoadBalancer>,
        };
        let seen = aws.read(&arn);
        tokio::spawn(async move {
            let turn = balancer.turn(&arn, Urgency::Usual).await;
            balancer.set_weights(&seen, &weight(5), turn).await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let state = aws.state();
    assert_eq!((state.throttled, state.written.len()), (0, 90));
    // 18 at once, the others at 3 a second.
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(24) && took < Duration::from_secs(26), "{took:?}");
}
