//! Two hundred Rollouts on rules of their own, one account, AWS's own buckets.

mod town;

use std::ops::Range;

use tokio::task::JoinSet;

use super::*;
use crate::alb::{BucketSize, Shared};
use town::{At, Town};

const ROLLOUTS: usize = 200;
/// How many rules one DescribeRules can look at.
const RULES_PER_CALL: usize = 20;
/// Nothing that is known may cost a host more than this.
const AT_ONCE: Duration = Duration::from_millis(5);

/// What one call of a host came to.
#[derive(Debug)]
struct Called {
    number: usize,
    took: Duration,
    answer: Result<Verification, String>,
}

/// A host's controller, with as many workers as it needs.
struct Crowd {
    town: Arc<Town>,
    router: Arc<Router>,
    calls: Arc<Mutex<Vec<Called>>>,
    tasks: JoinSet<()>,
    seed: u64,
}

impl Crowd {
    fn before(town: Town, seed: u64) -> Self {
        let town = Arc::new(town);
        let settings = Settings { settle: Duration::from_secs(10), ..settings() };
        let balancer = Shared::new(Arc::clone(&town.aws) as Arc<dyn LoadBalancer>, BucketSize::MODIFY);
        let router = Router::new(Ok(settings), Arc::new(balancer), Arc::clone(&town) as Arc<dyn Cluster>);
        Self { town, router: Arc::new(router), calls: Arc::default(), tasks: JoinSet::new(), seed }
    }

    /// The host reconciles this Rollout: after an error or a "no" in the time that its queue takes, otherwise when
    /// something makes it. Ends with the first confirmed weight, if `once`.
    fn reconcile(&mut self, number: usize, weight: i64, first: Range<u64>, once: bool) {
        let (town, router, calls) = (Arc::clone(&self.town), Arc::clone(&self.router), Arc::clone(&self.calls));
        let mut rng = fastrand::Rng::with_seed(self.seed * 1000 + number as u64);
        self.tasks.spawn(async move {
            let mut pause = rng.u64(first);
            loop {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let (at, rollout) = (Instant::now(), town.rollout_now(number));
                let answer = match router.set_weight(&rollout, weight, &[]).await {
                    Ok(()) => Ok(router.verify_weight(&rollout, weight, &[]).await),
                    Err(error) => Err(error.to_string()),
                };
                pause = match &answer {
                    Ok(Verification::NotVerified) => 10_000,
                    Ok(_) if once => u64::MAX,
                    Ok(_) => rng.u64(15_000..60_000),
                    Err(_) => rng.u64(2_000..10_000),
                };
                calls.lock().unwrap().push(Called { number, took: at.elapsed(), answer });
                if pause == u64::MAX {
                    return;
                }
            }
        });
    }

    /// What was called since the last time.
    fn called(&self) -> Vec<Called> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn at_rest_twenty_rules_cost_one_look_in_thirty_seconds_and_no_call_waits() {
    for seed in 0..3 {
        let mut crowd = Crowd::before(Town::of(ROLLOUTS, seed, |_| At::Rest), seed);
        for number in 0..ROLLOUTS {
            crowd.reconcile(number, 0, 0..60_000, false);
        }
        seconds(120).await;
        crowd.called();
        let at_first = crowd.town.calls();
        // Nothing is known yet that room could be filled with, and nothing has changed that has to be watched.
        assert!(at_first.looks <= ROLLOUTS + 20, "{at_first:?}, seed {seed}");
        seconds(600).await;
        let after = crowd.town.calls();
        let looks = after.looks - at_first.looks;
        let called = crowd.called();
        assert!(called.len() > ROLLOUTS * 10, "{}", called.len());
        for call in called {
            assert_eq!(call.answer, Ok(Verification::Verified), "seed {seed}: {call:?}");
            assert!(call.took <= AT_ONCE, "seed {seed}: {call:?}");
        }
        assert!(looks <= 20 * ROLLOUTS / RULES_PER_CALL, "{looks}, seed {seed}");
        let others = (after.writes - at_first.writes, after.targets - at_first.targets, after.around - at_first.around);
        assert_eq!((others, after.throttled), ((0, 0, 0), 0), "seed {seed}");
    }
}

/// A controller that starts anew has ten workers for all of them, and others may be in the middle of an update.
#[tokio::test(start_paused = true)]
async fn at_rest_nobody_is_held_while_weights_settle_that_were_never_verified() {
    let mut crowd = Crowd::before(Town::of(ROLLOUTS, 1, |_| At::Installed), 1);
    for number in 0..ROLLOUTS {
        crowd.reconcile(number, 0, 0..30_000, true);
    }
    seconds(120).await;
    let called = crowd.called();
    for number in 0..ROLLOUTS {
        let answers: Vec<_> = called.iter().filter(|call| call.number == number).map(|call| &call.answer).collect();
        let (last, before) = answers.split_last().unwrap();
        assert!(before.iter().all(|answer| **answer == Ok(Verification::NotVerified)), "{number}: {answers:?}");
        assert_eq!((*last, before.is_empty()), (&Ok(Verification::Verified), false), "{number}: {answers:?}");
    }
    let held: Vec<_> = called.iter().filter(|call| call.took >= SOONEST_ERROR).collect();
    assert!(held.is_empty(), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn when_aws_is_away_nobody_at_rest_notices_and_nobody_in_mid_shift_is_let_through() {
    // Fully promoted; in the pause of a step; to go on while AWS is away.
    const AT_REST: Range<usize> = 0..100;
    const PAUSED: Range<usize> = 100..150;
    const RAISED: Range<usize> = 150..ROLLOUTS;
    // It says that it is away, at once or after a while.
    for (seed, delay) in [(0, 10..30), (1, 10..30), (2, 2_000..6_000)] {
        let place = |number| if AT_REST.contains(&number) { At::Rest } else { At::Step };
        let mut crowd = Crowd::before(Town::of(ROLLOUTS, seed, place), seed);
        for number in 0..RAISED.start {
            crowd.reconcile(number, if AT_REST.contains(&number) { 0 } else { 20 }, 0..30_000, false);
        }
        seconds(180).await;
        crowd.called();
        let usual = std::mem::replace(&mut crowd.town.aws.state().delay, delay);
        crowd.town.aws.state().down = true;
        for number in RAISED {
            crowd.reconcile(number, 40, 0..10_000, false);
        }
        seconds(300).await;
        for call in crowd.called() {
            let told = format!("seed {seed}: {call:?}");
            if AT_REST.contains(&call.number) {
                assert!(call.answer == Ok(Verification::Verified) && call.took <= AT_ONCE, "{told}");
            } else if PAUSED.contains(&call.number) {
                // The host recorded this weight as verified, so nothing is scaled anew; but no step ends on it unseen.
                assert!(call.answer.is_ok(), "{told}");
            } else {
                assert!(call.answer.is_err(), "{told}");
            }
        }
        crowd.town.aws.state().delay = usual;
        crowd.town.aws.state().down = false;
        seconds(70).await;
        let called = crowd.called();
        for number in 0..ROLLOUTS {
            let goes_on = called.iter().any(|call| call.number == number && call.answer == Ok(Verification::Verified));
            assert!(goes_on, "seed {seed}: Rollout {number} does not go on");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_shifts_at_once_take_as_long_as_the_bucket_and_aborts_go_first() {
    const ABORTS: usize = 30;
    let is_abort = |number: usize| number % 6 == 3 && number / 6 < ABORTS;
    let limit = Duration::from_secs_f64(
        (ROLLOUTS as f64 - f64::from(BucketSize::MODIFY.burst)) / BucketSize::MODIFY.per_second,
    );
    for seed in 0..3 {
        let place = |number| if is_abort(number) { At::Abort } else { At::Begin };
        let mut crowd = Crowd::before(Town::of(ROLLOUTS, seed, place), seed);
        for number in 0..ROLLOUTS {
            crowd.reconcile(number, if is_abort(number) { 0 } else { 20 }, 0..1_000, true);
        }
        let began = Instant::now();
        let all = timeout(limit * 5, async { while crowd.tasks.join_next().await.is_some() {} }).await;
        assert!(all.is_ok(), "seed {seed}: not all are confirmed: {:?}", crowd.town.calls());
        let written = crowd.town.aws.state().last_written.unwrap() - began;
        assert!(written <= limit.mul_f64(1.2), "seed {seed}: {written:?} of {limit:?}, {:?}", crowd.town.calls());
        let calls = crowd.town.calls();
        assert_eq!(calls.writes, ROLLOUTS, "seed {seed}: {calls:?}");
        assert!(calls.throttled * 100 <= calls.all(), "seed {seed}: {calls:?}");
        // Those who came before them had a full bucket.
        let order = crowd.town.written();
        let last = order.iter().rposition(|number| is_abort(*number)).unwrap();
        assert!(last < ABORTS + BucketSize::MODIFY.burst as usize, "seed {seed}: the last abort is write {last}");
    }
}
