//! Many callers before a small AWS in memory, on a stopped clock.

mod added;
pub(crate) mod fake;
mod names;
mod reads;
mod writes;

use tokio::time::sleep;

use super::*;
use crate::alb::ErrorKind;
use fake::{Failure, FakeAws, group, rule, rules, weight};

fn shared(aws: &Arc<FakeAws>) -> Arc<Shared> {
    Arc::new(Shared::new(Arc::clone(aws) as Arc<dyn LoadBalancer>, BucketSize::MODIFY))
}

async fn wait(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

/// Writes as a shift does: with another turn each time, as long as waiting helps.
async fn write(shared: &Shared, rule: &Rule, groups: &[WeightedGroup], urgency: Urgency) -> Result<(), Error> {
    let mut pauses = pauses();
    loop {
        let turn = shared.turn(rule.arn(), urgency).await;
        let Err(error) = shared.set_weights(rule, groups, turn).await else { return Ok(()) };
        let again = error.kind() == ErrorKind::Transient;
        let Some(pause) = pauses.next().filter(|_| again) else { return Err(error) };
        sleep(pause).await;
    }
}
