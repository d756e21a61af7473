//! Writes go through the bucket: all of them, the urgent first, and without a storm.

use std::collections::HashMap;

use super::*;

/// What so many writes take at least.
fn bucket_limit(writes: usize) -> Duration {
    Duration::from_secs_f64((writes as f64 - f64::from(BucketSize::MODIFY.burst)) / BucketSize::MODIFY.per_second)
}

/// Everyone writes its rule once, now.
fn all_write(
    shared: &Arc<Shared>,
    aws: &Arc<FakeAws>,
    urgency: impl Fn(usize) -> Urgency,
) -> Vec<tokio::task::JoinHandle<Result<(), Error>>> {
    let writers = aws.all_rules().into_iter().enumerate().map(|(number, rule)| {
        let (shared, rule, urgency) = (Arc::clone(shared), aws.read(&rule), urgency(number));
        tokio::spawn(async move { write(&shared, &rule, &weight(5), urgency).await })
    });
    writers.collect()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_writers_at_once_all_succeed_in_the_buckets_own_time_urgent_ones_first() {
    for seed in 0..10 {
        let aws = FakeAws::new(200, seed);
        let (shared, start) = (shared(&aws), Instant::now());
        // The last thirty are urgent.
        let urgency = |number| if number >= 170 { Urgency::First } else { Urgency::Usual };
        for writer in all_write(&shared, &aws, urgency) {
            writer.await.unwrap().unwrap();
        }
        let took = start.elapsed();
        assert!(took <= bucket_limit(200).mul_f64(1.2), "{took:?}, seed {seed}");
        let state = aws.state();
        assert!(state.throttled <= 2, "{} throttled, seed {seed}", state.throttled);
        assert_eq!(state.written.len(), 200);
        // The burst went to whoever came first; after it, the urgent ones passed the others. Calls in the air may overtake
        // each other by one place.
        let all = rules(200);
        let urgent = |rule: &RuleArn| all[170..].contains(rule);
        let last_urgent = state.written.iter().rposition(urgent).unwrap();
        assert!(last_urgent < 18 + 30 + 1, "{last_urgent}, seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_uses_half_of_the_bucket_causes_no_storm() {
    for seed in 0..10 {
        let aws = FakeAws::new(200, seed);
        let (shared, start) = (shared(&aws), Instant::now());
        let tool = {
            let aws = Arc::clone(&aws);
            tokio::spawn(async move {
                // It writes 1.5 times a second, and has done so for a while.
                for _ in 0..10 {
                    aws.another_tool_writes();
                }
                let (mut tries, mut throttled) = (0, 0);
                while start.elapsed() < Duration::from_secs(120) {
                    tries += 1;
                    throttled += i32::from(!aws.another_tool_writes());
                    wait(667).await;
                }
                (tries, throttled)
            })
        };
        for writer in all_write(&shared, &aws, |_| Urgency::Usual) {
            writer.await.unwrap().unwrap();
        }
        let took = start.elapsed();
        let throttled = aws.state().throttled;
        // Half of the bucket would have taken (200 - 10) / 1.5 = 127 s.
        assert!(took < Duration::from_secs(190), "{took:?}, seed {seed}");
        assert!(throttled <= 25, "{throttled}, seed {seed}");
        let (tries, its_throttled) = tool.await.unwrap();
        assert!(its_throttled * 4 < tries, "{its_throttled} of {tries}: we crowd it out, seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_write_goes_back_through_the_bucket_a_few_times() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    let throttled = |times| vec![Failure::Kind(ErrorKind::Transient, "Throttling"); times];
    aws.state().failures.insert("write", throttled(2));
    let start = Instant::now();
    write(&shared, &aws.read(&rule(0)), &weight(5), Urgency::First).await.unwrap();
    assert_eq!(aws.weight_of(&rule(0)), 5);
    // 1.5 a second after the first, about 0.8 after the second.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(4), "{took:?}");
    aws.state().failures.insert("write", throttled(50));
    let start = Instant::now();
    let error = write(&shared, &aws.read(&rule(0)), &weight(6), Urgency::First).await.unwrap_err();
    assert!(error.is_throttling() && start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(aws.state().failures["write"].len(), 50 - ATTEMPTS);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_told_at_once_and_slows_nobody_down() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    for (kind, code) in [(ErrorKind::Access, "AccessDenied"), (ErrorKind::Missing, "RuleNotFound")] {
        aws.state().failures.insert("write", vec![Failure::Kind(kind, code)]);
        let start = Instant::now();
        let error = write(&shared, &aws.read(&rule(0)), &weight(5), Urgency::Usual).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(start.elapsed() < Duration::from_millis(130));
    }
    let start = Instant::now();
    write(&shared, &aws.read(&rule(0)), &weight(5), Urgency::Usual).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_away_while_it_waits_leaves_its_place() {
    let aws = FakeAws::new(60, 1);
    let shared = shared(&aws);
    let start = Instant::now();
    let writers = all_write(&shared, &aws, |_| Urgency::Usual);
    tokio::task::yield_now().await;
    for writer in &writers[18..59] {
        writer.abort();
    }
    let mut ends = HashMap::new();
    for (number, writer) in writers.into_iter().enumerate() {
        ends.insert(number, writer.await.is_ok());
    }
    assert_eq!(ends.values().filter(|done| **done).count(), 19);
    assert_eq!(aws.weight_of(&rule(59)), 5);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_account_and_region_has_a_bucket_of_its_own() {
    let aws = FakeAws::new(30, 1);
    let shared = shared(&aws);
    let writers = all_write(&shared, &aws, |_| Urgency::Usual);
    tokio::task::yield_now().await;
    for place in ["eu-west-1:2", "us-east-1:1"] {
        let arn = rule(0).as_str().replace("eu-west-1:1", place).parse().unwrap();
        let elsewhere = Rule::forwarding(arn, &weight(0));
        let start = Instant::now();
        write(&shared, &elsewhere, &weight(1), Urgency::Usual).await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(250));
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
}
