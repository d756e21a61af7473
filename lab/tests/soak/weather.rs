//! Bad days: every kind of fault, switched on and off, in an order that the seed gives.

use std::time::Duration;

use fastrand::Rng;
use lab::{Effect, Fault};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::world::World;

const KINDS: [fn(&mut Rng) -> Fault; 9] = [
    |_| Fault::error("*", 500, "InternalFailure", "it is us"),
    |_| Fault::error("ModifyRule", 503, "ServiceUnavailable", "come back later"),
    |_| Fault::expired_token("*"),
    |rng| Fault::new("*", Effect::DelayBefore { ms: rng.u64(20..200) }),
    |rng| Fault::new("ModifyRule", Effect::DelayAfter { ms: rng.u64(20..200) }),
    |rng| Fault::new("*", Effect::CutBeforeEffect).times(rng.u32(1..=3)),
    |rng| Fault::new("*", Effect::CutAfterEffect).times(rng.u32(1..=3)),
    |_| Fault::new("*", Effect::StaleReads),
    |rng| Fault::new("*", Effect::LateWrites { ms: rng.u64(100..1500) }),
];

/// Goes through all kinds again and again, and looks at the balance of the nodes' counters each time.
pub(crate) async fn change(world: &World, done: &watch::Sender<bool>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    loop {
        let mut kinds = KINDS;
        rng.shuffle(&mut kinds);
        for kind in kinds {
            let fault = kind(&mut rng).for_ms(rng.u64(100..600));
            world.lab.faults().add(fault).expect("a sound fault");
            sleep(Duration::from_millis(rng.u64(150..400))).await;
            // Two times in three it lasts into the next one, or ends by itself.
            if rng.u8(..3) == 0 {
                world.lab.faults().clear();
                sleep(Duration::from_millis(rng.u64(..200))).await;
            }
            for node in world.traffic().nodes {
                let ended: u64 = node.counts.iter().map(|count| count.requests).sum();
                assert_eq!(node.received, ended + node.in_flight, "{}", node.node);
            }
            if *done.borrow() {
                return;
            }
        }
    }
}
