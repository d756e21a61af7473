//! What a seed stands for: who is there, what people do, and what goes wrong when.

use std::time::Duration;

use fastrand::Rng;
use lab::{Effect, Fault};

/// People stop, and the weather is fine, from here on.
pub(crate) const CALM_FROM: Duration = Duration::from_secs(120);

/// What is switched off to see that the harm is found without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    /// `gates.rising: false`.
    RisingGate,
    /// `gates.promotion: false`.
    PromotionGate,
    /// `settleSeconds: 0`.
    Settle,
    /// `--echo-timeout 0`.
    Echo,
    /// Each Rollout has a router of its own, so nothing is locked between them.
    Lock,
    /// The balancer answers from memory, and says that it just looked.
    Freshness,
}

/// One simulated story, before it is played.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) without: Without,
    pub(crate) apps: Vec<AppCase>,
    /// Rules, each of a listener of its own; all hold the groups of all Rollouts.
    pub(crate) rules: usize,
    /// The weight of a group in the same rules that is nobody's business.
    pub(crate) foreign: Option<u16>,
    /// Reads are shared, and calls counted, as in the real plugin.
    pub(crate) shared: bool,
    /// The longest time until a node follows a change.
    pub(crate) node_lag: Duration,
    /// The longest start of a pod.
    pub(crate) start_up: Duration,
    /// The longest time until the load balancer controller registers a pod, or takes it out.
    pub(crate) registration: Duration,
    /// The load balancer controller writes weights too: from the reading of the annotation to its write, at most.
    pub(crate) rival: Option<Duration>,
    /// What people do, by the time of it.
    pub(crate) deeds: Vec<(Duration, usize, Deed)>,
    /// What goes wrong, by the time of it.
    pub(crate) weather: Vec<(Duration, Weather)>,
}

/// One Rollout.
#[derive(Clone, Debug)]
pub(crate) struct AppCase {
    pub(crate) replicas: u32,
    pub(crate) dynamic_stable_scale: bool,
    /// Weights of its steps; a pause follows each.
    pub(crate) steps: Vec<u32>,
    pub(crate) pause: u64,
}

/// What people do to a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Push a version.
    Push(&'static str),
    Abort,
    Retry,
    PromoteFull,
    Scale(u32),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// ELBv2 has a bad time.
    Aws(Fault),
    /// So many of the plugin's next requests to Kubernetes fail.
    Kubernetes(u32),
    /// The plugin is killed, and started again.
    KillPlugin,
    /// The rollouts controller is killed, and started again.
    KillHost,
}

impl Case {
    /// The story of a seed.
    pub(crate) fn of(seed: u64, without: Without) -> Self {
        let mut rng = Rng::with_seed(seed);
        let two = without == Without::Lock || (without != Without::Echo && rng.u8(..5) == 0);
        let apps: Vec<AppCase> = (0..if two { 2 } else { 1 }).map(|_| AppCase::draw(&mut rng)).collect();
        let mut case = Self {
            seed,
            without,
            rules: rng.usize(1..=2),
            foreign: (rng.u8(..4) == 0).then(|| rng.u16(10..=60)),
            node_lag: Duration::from_millis(rng.u64(500..=8_000)),
            start_up: Duration::from_millis(rng.u64(1_000..=6_000)),
            registration: Duration::from_millis(rng.u64(200..=12_000)),
            rival: None,
            shared: rng.bool(),
            deeds: Vec::new(),
            weather: Vec::new(),
            apps,
        };
        // Beside another Rollout's groups no other numbers are left for an echo.
        if !two && (without == Without::Echo || rng.u8(..4) == 0) {
            case.rival = Some(Duration::from_millis(rng.u64(500..=30_000)));
        }
        for app in 0..case.apps.len() {
            case.draw_deeds(&mut rng, app);
        }
        case.deeds.sort_by_key(|(at, app, _)| (*at, *app));
        case.draw_weather(&mut rng);
        case
    }

    fn draw_deeds(&mut self, rng: &mut Rng, app: usize) {
        let replicas = self.apps[app].replicas;
        let first = Duration::from_millis(rng.u64(1_000..=6_000));
        self.deeds.push((first, app, Deed::Push("v2")));
        let mut later = first;
        for _ in 0..rng.usize(..=2) {
            later += Duration::from_millis(rng.u64(1_000..=50_000));
            let deed = match rng.u8(..10) {
                0..=2 => Deed::Abort,
                3 => Deed::Retry,
                4 | 5 => Deed::Push("v3"),
                6 => Deed::Push("v1"),
                7 => Deed::PromoteFull,
                _ => Deed::Scale(rng.u32(2..=replicas + 2)),
            };
            if later < CALM_FROM {
                self.deeds.push((later, app, deed));
            }
        }
    }

    fn draw_weather(&mut self, rng: &mut Rng) {
        for _ in 0..rng.usize(..=3) {
            let at = Duration::from_millis(rng.u64(500..=100_000));
            let weather = match rng.u8(..10) {
                0..=5 => Weather::Aws(fault(rng, self.apps.len() > 1)),
                6 => Weather::Kubernetes(rng.u32(1..=6)),
                7 | 8 => Weather::KillPlugin,
                _ => Weather::KillHost,
            };
            self.weather.push((at, weather));
        }
        if self.without == Without::Freshness {
            // Whoever believes in what it sent must be wrong now and then.
            let at = Duration::from_millis(rng.u64(10_000..=40_000));
            self.weather.push((at, Weather::Aws(Fault::new("ModifyRule", Effect::CutBeforeEffect).for_ms(15_000))));
        }
        self.weather.sort_by_key(|(at, _)| *at);
    }
}

impl AppCase {
    fn draw(rng: &mut Rng) -> Self {
        let mut steps: Vec<u32> = (0..rng.usize(..=3)).map(|_| rng.u32(1..=20) * 5).collect();
        steps.sort_unstable();
        steps.dedup();
        Self { replicas: rng.u32(2..=4), dynamic_stable_scale: rng.u8(..3) > 0, steps, pause: rng.u64(1..=8) }
    }
}

/// A bad time of ELBv2. Writes that are shown late are not for rules of two Rollouts: who reads then cannot know of them.
fn fault(rng: &mut Rng, two: bool) -> Fault {
    let operation = *rng.choice(&["ModifyRule", "DescribeRules", "DescribeTargetHealth", "*"]).expect("one of them");
    let long = rng.u64(1_000..=20_000);
    let fault = match rng.u8(..if two { 6 } else { 7 }) {
        0 => Fault::throttling(operation),
        1 => Fault::error(operation, 500, "InternalFailure", "We made a mistake"),
        2 => Fault::new(operation, Effect::CutAfterEffect),
        3 => Fault::new(operation, Effect::CutBeforeEffect),
        4 => Fault::new(operation, Effect::DelayBefore { ms: rng.u64(100..=8_000) }),
        5 => Fault::new(operation, Effect::DelayAfter { ms: rng.u64(100..=8_000) }),
        _ => Fault::new("ModifyRule", Effect::LateWrites { ms: rng.u64(100..=3_000) }),
    };
    if rng.bool() { fault.times(rng.u32(1..=4)) } else { fault.for_ms(long) }
}
