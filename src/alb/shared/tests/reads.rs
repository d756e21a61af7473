//! Reads are batched, shared, never older than asked for, and one that fails fails nobody else.

use std::slice::from_ref;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;

/// What the only group of a rule weighs, as `observe` shows it.
async fn observed(shared: &Shared, rule: &RuleArn, since: Instant) -> Result<(Instant, u32), Error> {
    let observation = shared.observe(from_ref(rule), since).await?;
    Ok((observation.began, observation.rules[0].weight_of(&group(0)).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn two_hundred_rules_at_rest_cost_one_call_for_twenty_in_thirty_seconds() {
    const AGE: Duration = Duration::from_secs(30);
    const PERIOD: Duration = Duration::from_secs(25);
    for seed in 0..5 {
        let aws = FakeAws::new(200, seed);
        let shared = shared(&aws);
        let mut rng = fastrand::Rng::with_seed(seed);
        wait(60_000).await;
        let callers = rules(200).into_iter().map(|rule| {
            let shared = Arc::clone(&shared);
            let phase = PERIOD.mul_f64(rng.f64());
            tokio::spawn(async move {
                sleep(phase).await;
                loop {
                    let since = Instant::now().checked_sub(AGE).unwrap();
                    let (began, _) = observed(&shared, &rule, since).await.unwrap();
                    assert!(began >= since);
                    sleep(PERIOD).await;
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        // In the first round nothing is known yet that room could be filled with: a call for each, at most.
        sleep(PERIOD).await;
        let at_first = std::mem::take(&mut aws.state().looks).len();
        assert!(at_first <= 200, "{at_first}, seed {seed}");
        wait(600_000).await;
        let at_rest = aws.state().looks.len();
        assert!(at_rest <= 200, "{at_rest}, seed {seed}");
        for caller in callers {
            assert!(!caller.is_finished(), "seed {seed}");
            caller.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_full_calls() {
    let aws = FakeAws::new(200, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    let all = rules(200);
    // Each rule is asked for by two callers.
    let asked = all.iter().chain(&all).map(|rule| observed(&shared, rule, since));
    assert!(join_all(asked).await.into_iter().all(|seen| seen.is_ok()));
    let looks = aws.state().looks.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(looks, [20; 10]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_call_is_under_way_shares_the_next_one() {
    let aws = FakeAws::new(200, 1);
    let shared = shared(&aws);
    // One after the other, within a second.
    let asked = rules(200).into_iter().enumerate().map(|(number, rule)| {
        let shared = Arc::clone(&shared);
        async move {
            wait(5 * u64::try_from(number).unwrap()).await;
            let asked = Instant::now();
            observed(&shared, &rule, asked).await.unwrap();
            asked.elapsed()
        }
    });
    let longest = join_all(asked).await.into_iter().max().unwrap();
    // The pause, and a call of at most two times 120 ms.
    assert!(longest <= Duration::from_millis(270), "{longest:?}");
    let calls = aws.state().looks.len();
    assert!(calls <= 45, "{calls} for 200 callers");
}

#[tokio::test(start_paused = true)]
async fn one_caller_gets_all_its_rules_in_its_own_order_and_the_oldest_beginning() {
    let aws = FakeAws::new(50, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    wait(1).await;
    let (began, _) = observed(&shared, &rule(33), since).await.unwrap();
    wait(1000).await;
    let mut wanted = rules(50);
    wanted.reverse();
    wanted.push(rule(33));
    let observation = shared.observe(&wanted, since).await.unwrap();
    assert_eq!(observation.rules.iter().map(Rule::arn).cloned().collect::<Vec<_>>(), wanted);
    assert_eq!(observation.began, began);
    assert_eq!(aws.state().looks.len(), 4);
    assert!(shared.observe(&[], since).await.unwrap().rules.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_ever_gets_a_look_that_began_before_his_time() {
    for seed in 0..40 {
        let aws = FakeAws::new(30, seed);
        let shared = shared(&aws);
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        wait(5000).await;
        aws.state().shows_time_since = Some(start);
        let callers = (0..60).map(|_| {
            let (shared, aws, mut rng) = (Arc::clone(&shared), Arc::clone(&aws), rng.fork());
            tokio::spawn(async move {
                for _ in 0..20 {
                    wait(rng.u64(0..400)).await;
                    let rule = rule(rng.usize(0..30));
                    let since = Instant::now().checked_sub(Duration::from_millis(rng.u64(0..1000))).unwrap();
                    if rng.u8(..8) == 0 {
                        aws.state()
                            .failures
                            .entry("observe")
                            .or_default()
                            .push(Failure::Kind(ErrorKind::Transient, "InternalFailure"));
                    }
                    if rng.u8(..5) == 0 {
                        // A caller that goes away.
                        let _ = timeout(Duration::from_millis(rng.u64(0..150)), observed(&shared, &rule, since)).await;
                        continue;
                    }
                    let Ok((began, seen)) = observed(&shared, &rule, since).await else { continue };
                    assert!(began >= since, "seed {seed}");
                    let seen = start + Duration::from_millis(u64::from(seen));
                    assert!(seen >= began && seen >= since, "seed {seed}");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            timeout(Duration::from_secs(600), caller).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_before_our_own_write_ended_is_not_shown_again() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    wait(1).await;
    assert_eq!(observed(&shared, &rule(0), since).await.unwrap().1, 0);
    // A look that is under way when the write ends, too.
    aws.state().delay = 200..201;
    let slow = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { observed(&shared, &rule(0), Instant::now()).await.unwrap().1 }
    });
    tokio::task::yield_now().await;
    aws.state().delay = 10..11;
    write(&shared, &aws.read(&rule(0)), &weight(7), Urgency::Usual).await.unwrap();
    assert_eq!(observed(&shared, &rule(0), since).await.unwrap().1, 7);
    assert_eq!(slow.await.unwrap(), 7);
    assert_eq!(observed(&shared, &rule(0), since).await.unwrap().1, 7);
    // A write that failed may have come through all the same.
    aws.state().failures.insert("write", vec![Failure::Kind(ErrorKind::Access, "AccessDenied")]);
    aws.change(&rule(0), 9);
    write(&shared, &aws.read(&rule(0)), &weight(8), Urgency::Usual).await.unwrap_err();
    assert_eq!(observed(&shared, &rule(0), since).await.unwrap().1, 9);
}

#[tokio::test(start_paused = true)]
async fn a_missing_rule_fails_only_who_asked_for_it_and_is_then_asked_for_alone() {
    let aws = FakeAws::new(20, 1);
    let shared = shared(&aws);
    aws.delete(&rule(13));
    let all = rules(20);
    let seen = join_all(all.iter().map(|rule| observed(&shared, rule, Instant::now()))).await;
    for (number, seen) in seen.into_iter().enumerate() {
        match seen {
            Ok(_) => assert_ne!(number, 13),
            Err(error) => {
                assert_eq!((number, error.kind()), (13, ErrorKind::Missing));
                assert!(error.to_string().contains(rule(13).as_str()), "{error}");
            }
        }
    }
    let calls = aws.state().looks.len();
    assert!(calls <= 10, "{calls}");
    aws.state().looks.clear();
    wait(20_000).await;
    let (missing, there) = (rule(13), rule(1));
    let since = Instant::now();
    let both = join_all([observed(&shared, &missing, since), observed(&shared, &there, since)]).await;
    assert!(both[0].is_err() && both[1].is_ok());
    let looks = aws.state().looks.clone();
    assert_eq!(looks.len(), 2);
    assert!(looks.iter().all(|look| look.contains(&there) != look.contains(&missing)), "{looks:?}");
    assert!(looks.iter().any(|look| *look == [missing.clone()]), "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_tried_again_and_a_lasting_one_told_at_once() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    aws.state().failures.insert("observe", vec![Failure::Kind(ErrorKind::Transient, "Throttling"); 3]);
    observed(&shared, &rule(0), Instant::now()).await.unwrap();
    assert_eq!(aws.state().looks.len(), 4);
    aws.state().failures.insert("observe", vec![Failure::Kind(ErrorKind::Transient, "InternalFailure"); 9]);
    let error = observed(&shared, &rule(0), Instant::now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(aws.state().looks.len(), 8);
    aws.state().failures.insert("observe", vec![Failure::Kind(ErrorKind::Access, "AccessDenied")]);
    let error = observed(&shared, &rule(0), Instant::now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert_eq!(aws.state().looks.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_an_error_of_those_who_wait_for_it() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    aws.state().failures.insert("observe", vec![Failure::Panic]);
    let error = observed(&shared, &rule(0), Instant::now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("broke off"), "{error}");
    observed(&shared, &rule(0), Instant::now()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_stops_nobodys_call() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    wait(1).await;
    assert!(timeout(Duration::from_millis(5), observed(&shared, &rule(0), since)).await.is_err());
    observed(&shared, &rule(0), since).await.unwrap();
    assert_eq!(aws.state().looks.len(), 1, "the second joined the call that the first began");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_does_not_hold_up_the_next() {
    let aws = FakeAws::new(2, 1);
    let shared = shared(&aws);
    aws.state().delay = 10_000..10_001;
    let hanging = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { observed(&shared, &rule(0), Instant::now()).await }
    });
    tokio::task::yield_now().await;
    wait(1).await;
    aws.state().delay = 1..2;
    let asked = Instant::now();
    observed(&shared, &rule(1), asked).await.unwrap();
    assert!(asked.elapsed() <= Duration::from_millis(110), "{:?}", asked.elapsed());
    assert!(!hanging.is_finished());
}

#[tokio::test(start_paused = true)]
async fn looks_at_targets_are_shared_and_as_fresh_as_asked_for() {
    let aws = FakeAws::new(0, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    wait(1).await;
    let (one, other) = (group(1), group(2));
    let seen = join_all([&one, &other, &one].map(|group| shared.targets(group, since))).await;
    assert!(seen.iter().zip([&one, &other, &one]).all(|(seen, group)| seen.as_ref().unwrap()[0].id == group.as_str()));
    assert_eq!(aws.state().looks_at_targets, 2);
    shared.targets(&one, since).await.unwrap();
    assert_eq!(aws.state().looks_at_targets, 2);
    shared.targets(&one, Instant::now()).await.unwrap();
    assert_eq!(aws.state().looks_at_targets, 3);
}

#[tokio::test(start_paused = true)]
async fn looks_around_groups_of_one_load_balancer_are_shared_and_always_new() {
    let aws = FakeAws::new(0, 1);
    let shared = shared(&aws);
    let asked = Instant::now();
    let groups: Vec<_> = (0..100).map(|number| group(number % 5)).collect();
    let around = join_all(groups.iter().map(|group| shared.rules_around(group))).await;
    assert!(around.iter().all(|around| around.as_ref().unwrap().began >= asked));
    assert!(aws.state().looks_around <= 5);
    let before = aws.state().looks_around;
    shared.rules_around(&groups[0]).await.unwrap();
    assert_eq!(aws.state().looks_around, before + 1);
    // A group that no rule holds yet is answered too.
    assert_eq!(shared.rules_around(&group(77)).await.unwrap().rules.len(), 1);
}
