//! Writes that are accepted at once and shown later: reads and load balancer nodes see the account before them for a while.
//!
//! They are shown in the order in which they were accepted. Times are those since the account's start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::control_plane::model::Account;

#[derive(Debug, Default)]
pub(crate) struct Late {
    /// What is shown while something is still to come.
    shown: Option<Arc<Account>>,
    coming: VecDeque<(Duration, Arc<Account>)>,
}

impl Late {
    /// Takes a change of the account that is to be shown at a time, or after those that are still to come. Gives back when.
    pub(crate) fn accept(
        &mut self,
        before: &Arc<Account>,
        after: &Arc<Account>,
        now: Duration,
        due: Duration,
    ) -> Duration {
        self.settle(now);
        let due = self.coming.back().map_or(due, |(last, _)| due.max(*last));
        if due > now {
            self.shown.get_or_insert_with(|| Arc::clone(before));
            self.coming.push_back((due, Arc::clone(after)));
        }
        due
    }

    /// Shows what is due.
    pub(crate) fn settle(&mut self, now: Duration) {
        while let Some((_, account)) = self.coming.pop_front_if(|(due, _)| *due <= now) {
            self.shown = Some(account);
        }
        if self.coming.is_empty() {
            self.shown = None;
        }
    }

    /// What is shown, if it is not the newest account.
    pub(crate) fn shown(&self) -> Option<&Arc<Account>> {
        self.shown.as_ref()
    }

    /// Every account but the newest: what is shown and what is still to come.
    pub(crate) fn accounts_mut(&mut self) -> impl Iterator<Item = &mut Account> {
        self.shown.iter_mut().chain(self.coming.iter_mut().map(|(_, account)| account)).map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::control_plane::model::Limits;
    use crate::control_plane::model::arn::Home;

    fn account(seconds: u64) -> Arc<Account> {
        let home = Home { region: "us-east-1".to_owned(), account: "000000000000".to_owned() };
        let limits = Limits { rules_per_load_balancer: 100, page_size: 100 };
        Arc::new(Account::new(home, 1, limits, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    fn shown_now(late: &mut Late, ms: u64) -> Option<u64> {
        late.settle(Duration::from_millis(ms));
        let age = |account: &Arc<Account>| account.now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        late.shown().map(age)
    }

    #[test]
    fn changes_are_shown_in_order_and_never_before_they_are_due() {
        let ms = Duration::from_millis;
        let (zero, one, two, three) = (account(0), account(1), account(2), account(3));
        let mut late = Late::default();
        assert_eq!(late.accept(&zero, &one, ms(0), ms(0)), ms(0));
        assert_eq!(shown_now(&mut late, 0), None, "at once");
        assert_eq!(late.accept(&one, &two, ms(10), ms(110)), ms(110));
        assert_eq!(late.accept(&two, &three, ms(20), ms(20)), ms(110), "not before the one before it");
        assert_eq!(shown_now(&mut late, 109), Some(1));
        assert_eq!(shown_now(&mut late, 110), None, "the newest");
    }

    #[test]
    fn each_change_has_its_own_time() {
        let ms = Duration::from_millis;
        let (zero, one, two) = (account(0), account(1), account(2));
        let mut late = Late::default();
        late.accept(&zero, &one, ms(0), ms(100));
        late.accept(&one, &two, ms(0), ms(200));
        assert_eq!(shown_now(&mut late, 99), Some(0));
        assert_eq!(shown_now(&mut late, 100), Some(1));
        assert_eq!(shown_now(&mut late, 200), None);
    }
}
