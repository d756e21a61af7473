//! A group that comes into rules which nobody else writes: an experiment's.

use tokio::time::Instant;

use super::find::Found;
use super::shift::Shift;
use super::unfinished::Unfinished;

impl Shift<'_> {
    /// Adds further groups that are to have traffic to the rules, with nothing. ELBv2 checks the targets of no group that no
    /// rule knows (`Target.NotInUse`), so the gate in front of such a group could never open.
    pub(super) async fn let_in(&mut self, found: &Found) -> Result<(), Unfinished> {
        let (wish, split) = (&self.ask.wish, &found.split);
        let has_further = wish.division.further.iter().any(|further| further.weight > 0);
        // Where an Ingress is followed, groundwork has seen to it.
        if !has_further || found.is_followed() || wish.writes_nothing() || !wish.gates.rising {
            return Ok(());
        }
        let looked = self.observe(&found.rules, Instant::now()).await?;
        let mut turns = Vec::new();
        for rule in looked.rules.iter().filter(|rule| split.with_missing(&rule.groups()).is_some()) {
            turns.push((rule.arn().clone(), self.balancer.turn(rule.arn(), wish.urgency()).await));
        }
        if turns.is_empty() {
            return Ok(());
        }
        self.check_meant().await?;
        let locked = self.means.locks.lock(&found.rules).await;
        let now = self.observe(&found.rules, Instant::now()).await?;
        let mut writes = Vec::new();
        for (arn, turn) in turns {
            let rule = now.rules.iter().find(|rule| *rule.arn() == arn);
            let missing = rule.and_then(|rule| Some((rule.clone(), split.with_missing(&rule.groups())?)));
            writes.extend(missing.map(|(rule, groups)| (rule, groups, turn)));
        }
        self.write(split, &found.rules, writes, locked).await
    }
}
