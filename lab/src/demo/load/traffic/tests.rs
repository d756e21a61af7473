use proptest::prelude::*;

use super::*;

/// A request every 4 ms: `.` succeeds, `x` gets a 502, `?` has not ended.
fn records(picture: &str) -> Vec<Option<Record>> {
    let record = |(number, sign): (u32, char)| {
        let (status, version) = match sign {
            '.' => (200, Some("new".to_owned())),
            'x' => (502, None),
            _ => return None,
        };
        let at = Duration::from_millis(4) * number;
        let latency = Duration::from_millis(u64::from(number));
        Some(Record { at, latency, outcome: Outcome::Status(status), version })
    };
    (0..).zip(picture.chars()).map(record).collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn only_what_the_customer_sees_as_an_error_has_failed() {
    for (outcome, failed) in [
        (Outcome::Status(200), false),
        (Outcome::Status(302), false),
        (Outcome::Status(404), false),
        (Outcome::Status(499), false),
        (Outcome::Status(500), true),
        (Outcome::Status(503), true),
        (Outcome::Refused, true),
        (Outcome::Closed, true),
        (Outcome::TimedOut, true),
    ] {
        assert_eq!(outcome.failed(), failed, "{outcome}");
    }
}

#[test]
fn a_span_of_failures_ends_with_the_next_success() {
    let longest = |picture: &str| Traffic::of(&records(picture)).longest_failure;
    assert_eq!(longest("....."), ms(0));
    assert_eq!(longest(".x..."), ms(4));
    assert_eq!(longest(".xxx.xx."), ms(12));
    assert_eq!(longest(".xx.xxxx"), ms(12), "the last failure ends it when no success comes");
    assert_eq!(longest(".x?x."), ms(12), "one that has not ended is not a success");
    assert_eq!(longest("x"), ms(0));
}

#[test]
fn the_worst_second_may_begin_at_any_bucket() {
    // 25 requests fill a bucket. Half of the buckets 7 to 16 fails, which no whole second of the clock shows.
    let picture = [".".repeat(7 * 25), "x.".repeat(125), ".".repeat(20 * 25)].concat();
    let worst = Traffic::of(&records(&picture)).worst_second.unwrap();
    assert_eq!(worst, WorstSecond { from: ms(700), requests: 250, failed: 125 });
    assert!((worst.share() - 0.5).abs() < 1e-9);
    assert_eq!(Traffic::of(&records("....")).worst_second, None);
    assert_eq!(Traffic::of(&[]).worst_second, None);
    let short = Traffic::of(&records("..xx")).worst_second;
    assert_eq!(short, Some(WorstSecond { from: ms(0), requests: 4, failed: 2 }));
}

#[test]
fn latencies_are_of_successes_and_ranked() {
    let picture = [".".repeat(100), "x".repeat(50)].concat();
    let latencies = Traffic::of(&records(&picture)).latencies;
    assert_eq!(latencies, Latencies { median: ms(49), p99: ms(98), max: ms(99) });
}

#[test]
fn a_request_belongs_to_the_bucket_in_which_it_was_due() {
    let traffic = Traffic::of(&records(&[".".repeat(25), "x".to_owned()].concat()));
    let versions = BTreeMap::from([("new".to_owned(), 25)]);
    let full = Bucket { requests: 25, failed: 0, versions };
    assert_eq!(traffic.buckets, [full, Bucket { requests: 1, failed: 1, versions: BTreeMap::new() }]);
}

proptest! {
    #[test]
    fn every_request_is_counted_once_everywhere(picture in "[.x?]{0,700}") {
        let traffic = Traffic::of(&records(&picture));
        let count = |sign: char| picture.chars().filter(|other| *other == sign).count() as u64;
        prop_assert_eq!(traffic.requests, count('.') + count('x'));
        prop_assert_eq!(traffic.failed(), count('x'));
        prop_assert_eq!(traffic.outcomes.values().sum::<u64>(), traffic.requests);
        prop_assert_eq!(traffic.buckets.iter().map(|bucket| bucket.requests).sum::<u64>(), traffic.requests);
        prop_assert_eq!(traffic.failed_per_second().iter().sum::<u64>(), traffic.failed());
        prop_assert_eq!(traffic.versions.values().sum::<u64>(), count('.'));
        prop_assert_eq!(traffic.worst_second.is_some(), count('x') > 0);
        if let Some(worst) = traffic.worst_second {
            prop_assert!(worst.failed <= worst.requests && worst.failed <= traffic.failed());
        }
    }

    #[test]
    fn the_longest_span_is_what_a_search_of_all_spans_finds(picture in "[.x]{0,60}") {
        let signs: Vec<char> = picture.chars().collect();
        let mut longest = 0;
        for first in 0..signs.len() {
            for last in first..signs.len() {
                if signs[first..=last].iter().all(|sign| *sign == 'x') {
                    let end = if last + 1 < signs.len() { last + 1 } else { last };
                    longest = longest.max(end - first);
                }
            }
        }
        prop_assert_eq!(Traffic::of(&records(&picture)).longest_failure, ms(4) * u32::try_from(longest).unwrap());
    }
}
