//! A made-up run of three worlds, for tests of what is shown: it resembles the story that the plugin exists for.

use std::time::Duration;

use super::load::{Outcome, Record, Traffic};
use super::world::{Event, Sample, Step, World};

/// Requests per second.
const RATE: u32 = 250;
const PODS: u32 = 10;
const SECONDS: u32 = 150;

/// How a world behaves.
struct Manner {
    name: &'static str,
    /// From the question until the weights are true.
    lag: Duration,
    /// The next step waits for it.
    waits: bool,
    /// Stable pods go away as the canary grows.
    dynamic: bool,
}

/// The built-in path, the plugin, and the workaround that pays twice.
pub(super) fn worlds() -> Vec<World> {
    let slow = Duration::from_secs(38);
    [
        Manner { name: "built-in", lag: slow, waits: false, dynamic: true },
        Manner { name: "plugin", lag: Duration::from_millis(320), waits: true, dynamic: true },
        Manner { name: "workaround", lag: slow, waits: false, dynamic: false },
    ]
    .iter()
    .map(world)
    .collect()
}

fn world(manner: &Manner) -> World {
    let steps = steps(manner);
    let samples: Vec<Sample> =
        (0..SECONDS * 5).map(|fifth| sample(manner, &steps, Duration::from_millis(200) * fifth)).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    let records: Vec<Option<Record>> = (0..SECONDS * RATE)
        .map(|number| Some(record(&mut rng, &samples, Duration::from_secs(1) * number / RATE)))
        .collect();
    let pods: u32 = samples.iter().map(|sample| sample.stable_pods + sample.canary_pods).sum();
    World {
        name: manner.name.to_owned(),
        traffic: Traffic::of(&records),
        pod_time: Duration::from_millis(200) * pods,
        events: steps.iter().filter_map(written).collect(),
        steps,
        samples,
    }
}

fn steps(manner: &Manner) -> Vec<Step> {
    let mut asked = Duration::from_secs(10);
    let mut steps = Vec::new();
    for weight in [10, 60, 80, 90, 100] {
        let settled = Some(asked + manner.lag);
        steps.push(Step { label: format!("{weight} %"), asked, settled });
        asked += Duration::from_secs(15) + if manner.waits { manner.lag } else { Duration::ZERO };
    }
    steps
}

fn written(step: &Step) -> Option<Event> {
    step.settled.map(|at| Event { at, text: format!("ModifyRule on both rules made {} true", step.label) })
}

fn sample(manner: &Manner, steps: &[Step], at: Duration) -> Sample {
    let weight = |step: Option<&Step>| step.and_then(|step| step.label.split(' ').next()?.parse().ok()).unwrap_or(0u16);
    let wished = weight(steps.iter().rfind(|step| step.asked <= at));
    let actual = weight(steps.iter().rfind(|step| step.settled.is_some_and(|settled| settled <= at)));
    let scaled = weight(steps.iter().rfind(|step| step.asked + Duration::from_secs(2) <= at));
    let known = if manner.waits { scaled.min(actual) } else { scaled };
    let stable_pods = if manner.dynamic { PODS - u32::from(known) * PODS / 100 } else { PODS };
    Sample { at, wished, actual: vec![actual; 2], stable_pods, canary_pods: u32::from(wished) * PODS / 100 }
}

/// A stable pod serves a tenth of all requests at most; what is too much for those that are left fails.
fn record(rng: &mut fastrand::Rng, samples: &[Sample], at: Duration) -> Record {
    let latency = Duration::from_millis(rng.u64(5..20));
    let sample = samples.iter().rfind(|sample| sample.at <= at).cloned().unwrap_or_default();
    let to_canary = rng.u16(0..100) < sample.actual.first().copied().unwrap_or_default();
    let outcome = match sample.stable_pods {
        _ if to_canary => Outcome::Status(200),
        0 => Outcome::Status(503),
        pods if rng.u32(0..PODS * 4) < (PODS - pods).saturating_sub(u32::from(sample.actual[0]) / 10) => {
            Outcome::Status(502)
        }
        _ => Outcome::Status(200),
    };
    let version = (!outcome.failed()).then(|| if to_canary { "new" } else { "old" }.to_owned());
    Record { at, latency, outcome, version }
}
