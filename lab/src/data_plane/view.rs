//! What a node knows of the account, and what it will learn later.
//!
//! AWS says only that each node works on its own; the field sees nodes disagree for seconds after a change. So each node
//! follows each change after a lag of its own, in the order in which the changes were made.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use crate::control_plane::model::Account;

/// Changes on their way to a node.
#[derive(Debug)]
pub(super) struct View {
    lag: RangeInclusive<Duration>,
    lags: Rng,
    /// The account after the last change that was announced.
    latest: Arc<Account>,
    /// Each with the time at which the node follows it; the times never go back.
    coming: VecDeque<(SystemTime, Arc<Account>)>,
}

impl View {
    /// Begins with an account that the node knows already.
    pub(super) fn new(lag: RangeInclusive<Duration>, lags: Rng, account: Arc<Account>) -> Self {
        Self { lag, lags, latest: account, coming: VecDeque::new() }
    }

    /// Announces the account after a change. What does not concern nodes, such as reports about health, is no change.
    pub(super) fn announce(&mut self, now: SystemTime, account: Arc<Account>) {
        if alike(&self.latest, &account) {
            return;
        }
        let follows = now + self.draw();
        let follows = self.coming.back().map_or(follows, |(last, _)| follows.max(*last));
        self.latest = Arc::clone(&account);
        self.coming.push_back((follows, account));
    }

    /// The newest account that the node follows by now, with the time since when, if it did not follow it before.
    pub(super) fn follow(&mut self, now: SystemTime) -> Option<(SystemTime, Arc<Account>)> {
        let mut newest = None;
        while let Some(followed) = self.coming.pop_front_if(|(follows, _)| *follows <= now) {
            newest = Some(followed);
        }
        newest
    }

    /// When the next change is followed.
    pub(super) fn due(&self) -> Option<SystemTime> {
        self.coming.front().map(|(follows, _)| *follows)
    }

    fn draw(&mut self) -> Duration {
        let shortest = nanos(*self.lag.start());
        let longest = nanos(*self.lag.end()).max(shortest);
        Duration::from_nanos(self.lags.u64(shortest..=longest))
    }
}

/// Nodes would behave the same with either.
fn alike(before: &Account, after: &Account) -> bool {
    before.rules == after.rules
        && before.registrations == after.registrations
        && before.target_groups == after.target_groups
        && before.listeners == after.listeners
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_plane::fixture::Shop;

    #[test]
    fn changes_are_followed_in_order_each_after_its_lag() {
        let shop = Shop::new();
        let start = shop.control_plane.now();
        let lag = Duration::from_secs(1)..=Duration::from_secs(9);
        let mut view = View::new(lag.clone(), Rng::with_seed(7), shop.account());
        let mut dues = Vec::new();
        for weight in 1..=50 {
            shop.weights(100 - weight, weight);
            view.announce(start, shop.account());
            dues.extend(view.coming.back().map(|(due, _)| *due));
        }
        assert_eq!(dues.len(), 50);
        assert!(dues.is_sorted());
        assert!(dues.iter().all(|due| *due >= start + *lag.start() && *due <= start + *lag.end()));
        assert!(dues.first() < dues.last(), "the lags are all the same");
        assert_eq!(view.due(), dues.first().copied());
        assert!(view.follow(start).is_none());
        let (since, newest) = view.follow(start + *lag.end()).expect("the last change is due");
        assert_eq!(Some(&since), dues.last());
        assert!(Arc::ptr_eq(&newest, &shop.account()));
        assert_eq!(view.due(), None);
    }

    #[test]
    fn reports_about_health_are_no_change() {
        let shop = Shop::new();
        let target = shop.register_stable("127.0.0.1", 1);
        let mut view = View::new(Duration::ZERO..=Duration::ZERO, Rng::with_seed(1), shop.account());
        let before = shop.account();
        shop.report_healthy("node-9", &target);
        assert!(!Arc::ptr_eq(&before, &shop.account()));
        view.announce(shop.control_plane.now(), shop.account());
        assert_eq!(view.due(), None);
    }

    #[test]
    fn an_empty_range_of_lags_means_its_beginning() {
        let shop = Shop::new();
        let start = shop.control_plane.now();
        let backwards = Duration::from_secs(5)..=Duration::from_secs(1);
        let mut view = View::new(backwards, Rng::with_seed(1), shop.account());
        shop.weights(1, 1);
        view.announce(start, shop.account());
        assert_eq!(view.due(), Some(start + Duration::from_secs(5)));
    }
}
