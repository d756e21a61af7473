//! What was seen of each thing and when, who waits for a newer look, and what the next call should look at.
//!
//! Pure: the time is handed in, and whoever keeps the ledger makes the calls that it asks for. Calls are numbered in the
//! order they begin, which tells more than the time: two things may happen in the same moment.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::alb::{Error, ErrorKind};

/// Room in a call goes to what somebody asked for this recently, since he is likely to ask again,
const OF_INTEREST: Duration = Duration::from_secs(120);
/// and whose look is at least this old. A look more costs nothing; guards look every few seconds.
const WORTH_A_LOOK: Duration = Duration::from_secs(1);
/// What nobody asked for in this time is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// When the look began, and what it saw.
pub(super) type Answer<V> = Result<(Instant, V), Error>;

/// How a question stands.
#[derive(Debug)]
pub(super) enum Asked<V> {
    /// Somebody's look will do.
    Known(Instant, V),
    /// A call that is under way, or the next one, will answer.
    Wait(oneshot::Receiver<Answer<V>>),
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Call<K> {
    pub(super) number: u64,
    pub(super) keys: Vec<K>,
}

/// The looks at all things of one kind.
#[derive(Debug)]
pub(super) struct Ledger<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// The number of the next call.
    next: u64,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry<V> {
    asked: Instant,
    seen: Option<(Instant, V)>,
    /// The newest call under way that looks at it, and when that began.
    under_way: Option<(u64, Instant)>,
    /// Calls before this one may have seen what is no longer true.
    valid_from: u64,
    /// AWS refused to show it the last time, which fails a whole call: it is looked at alone.
    alone: bool,
    waiting: Vec<Waiting<V>>,
}

#[derive(Debug)]
struct Waiting<V> {
    /// The first call that may answer.
    from: u64,
    answer: oneshot::Sender<Answer<V>>,
}

impl<K, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 0, swept: None }
    }
}

impl<K: Clone + Ord, V: Clone> Ledger<K, V> {
    /// Asks for a look that began at `since` or later. Without a time, only a call that has not begun will do.
    pub(super) fn ask(&mut self, key: &K, since: Option<Instant>, now: Instant) -> Asked<V> {
        self.sweep(now);
        let next = self.next;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(now));
        entry.asked = now;
        // Strictly later: of two events in the same moment, the look may have been the first.
        let fresh = |began: Instant| since.is_some_and(|since| began > since);
        if let Some((began, seen)) = &entry.seen
            && fresh(*began)
        {
            return Asked::Known(*began, seen.clone());
        }
        let joined = entry.under_way.filter(|(number, began)| *number >= entry.valid_from && fresh(*began));
        let (answer, receiver) = oneshot::channel();
        entry.waiting.push(Waiting { from: joined.map_or(next, |(number, _)| number), answer });
        Asked::Wait(receiver)
    }

    /// Somebody waits for a call that has not begun.
    pub(super) fn is_wanted(&self) -> bool {
        self.entries.values().any(|entry| entry.wanted().is_some())
    }

    /// Begins a call that looks at up to `room` things: those that are waited for, the longest waiting first, and what else
    /// is due soon. None when nobody waits any more.
    pub(super) fn begin(&mut self, room: usize, now: Instant) -> Option<Call<K>> {
        let mut wanted = Vec::new();
        for (key, entry) in &mut self.entries {
            entry.waiting.retain(|waiting| !waiting.answer.is_closed());
            wanted.extend(entry.wanted().map(|from| (from, key.clone(), entry.alone)));
        }
        wanted.sort_by_key(|(from, ..)| *from);
        let (_, first, alone) = wanted.first()?;
        let keys = if *alone {
            vec![first.clone()]
        } else {
            let wanted = wanted.iter().filter(|(.., alone)| !alone).map(|(_, key, _)| key.clone());
            let mut keys: Vec<K> = wanted.take(room).collect();
            keys.extend(self.due(room.saturating_sub(keys.len()), now));
            keys
        };
        let number = self.next;
        self.next += 1;
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.under_way = Some((number, now));
            }
        }
        Some(Call { number, keys })
    }

    /// What a call saw of one thing. Whoever may be answered by this call is.
    pub(super) fn answer(&mut self, call: u64, key: &K, answer: &Answer<V>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if call >= entry.valid_from {
            match answer {
                Ok((began, seen)) => {
                    entry.alone = false;
                    if entry.seen.as_ref().is_none_or(|(before, _)| before < began) {
                        entry.seen = Some((*began, seen.clone()));
                    }
                }
                Err(error) if is_its_own_fault(error) => {
                    entry.alone = true;
                    entry.seen = None;
                }
                Err(_) => {}
            }
        }
        for waiting in entry.waiting.extract_if(.., |waiting| waiting.from <= call) {
            // He may have gone meanwhile.
            let _ = waiting.answer.send(answer.clone());
        }
    }

    /// The call is over. Whoever it was to answer and did not learns that nothing will come.
    pub(super) fn end(&mut self, call: &Call<K>) {
        for key in &call.keys {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            if entry.under_way.is_some_and(|(number, _)| number == call.number) {
                entry.under_way = None;
            }
            entry.waiting.retain(|waiting| waiting.from > call.number);
        }
    }

    /// We changed it: whatever began to look before now is worthless to whoever asks from now on.
    pub(super) fn spoil(&mut self, key: &K) {
        let valid_from = self.next;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.seen = None;
            entry.valid_from = valid_from;
        }
    }

    /// Things to look at although nobody waits for them, the oldest look first.
    fn due(&self, room: usize, now: Instant) -> Vec<K> {
        let age = |since: Instant| now.saturating_duration_since(since);
        let of_interest = self.entries.iter().filter(|(_, entry)| {
            age(entry.asked) <= OF_INTEREST && entry.under_way.is_none() && entry.wanted().is_none() && !entry.alone
        });
        let mut due: Vec<(Instant, &K)> =
            of_interest.filter_map(|(key, entry)| Some((entry.seen.as_ref()?.0, key))).collect();
        due.retain(|(began, _)| age(*began) >= WORTH_A_LOOK);
        due.sort();
        due.into_iter().take(room).map(|(_, key)| key.clone()).collect()
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < OF_INTEREST) {
            return;
        }
        self.swept = Some(now);
        self.entries.retain(|_, entry| {
            let idle = entry.waiting.is_empty() && entry.under_way.is_none();
            !idle || now.saturating_duration_since(entry.asked) < FORGOTTEN
        });
    }
}

impl<V> Entry<V> {
    fn new(asked: Instant) -> Self {
        Self { asked, seen: None, under_way: None, valid_from: 0, alone: false, waiting: Vec::new() }
    }

    /// The first call that the longest waiting asks for, of those whom no call under way will answer.
    fn wanted(&self) -> Option<u64> {
        let unanswered =
            self.waiting.iter().filter(|waiting| self.under_way.is_none_or(|(number, _)| number < waiting.from));
        unanswered.map(|waiting| waiting.from).min()
    }
}

/// AWS will not show this thing, whatever else is in the call and whoever asks.
pub(super) fn is_its_own_fault(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Missing | ErrorKind::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Looks = Ledger<u32, &'static str>;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// Asks, and expects to have to wait.
    fn wait(
        looks: &mut Looks,
        key: u32,
        since: Option<Instant>,
        now: Instant,
    ) -> oneshot::Receiver<Answer<&'static str>> {
        match looks.ask(&key, since, now) {
            Asked::Wait(receiver) => receiver,
            Asked::Known(..) => panic!("{key} is known"),
        }
    }

    fn see(looks: &mut Looks, call: &Call<u32>, began: Instant, what: &'static str) {
        for key in &call.keys {
            looks.answer(call.number, key, &Ok((began, what)));
        }
        looks.end(call);
    }

    #[test]
    fn a_look_answers_who_asked_before_it_began_and_later_whom_its_age_suits() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let mut early = wait(&mut looks, 1, Some(start), start);
        let call = looks.begin(20, at(start, 1)).unwrap();
        assert!(!looks.is_wanted() && looks.begin(20, at(start, 1)).is_none());
        let mut joins = wait(&mut looks, 1, Some(start), at(start, 2));
        assert!(!looks.is_wanted());
        let mut next = wait(&mut looks, 1, Some(at(start, 1)), at(start, 2));
        assert!(looks.is_wanted());
        see(&mut looks, &call, at(start, 1), "a");
        for receiver in [&mut early, &mut joins] {
            assert_eq!(receiver.try_recv().unwrap(), Ok((at(start, 1), "a")));
        }
        assert!(next.try_recv().is_err());
        assert!(matches!(looks.ask(&1, Some(start), at(start, 3)), Asked::Known(_, "a")));
        let call = looks.begin(20, at(start, 4)).unwrap();
        see(&mut looks, &call, at(start, 4), "b");
        assert_eq!(next.try_recv().unwrap(), Ok((at(start, 4), "b")));
    }

    #[test]
    fn a_slow_call_neither_delays_the_next_nor_takes_back_what_it_saw() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let _first = wait(&mut looks, 1, Some(start), start);
        let slow = looks.begin(20, start).unwrap();
        let mut second = wait(&mut looks, 1, Some(start), start);
        let quick = looks.begin(20, at(start, 1)).unwrap();
        see(&mut looks, &quick, at(start, 1), "new");
        assert_eq!(second.try_recv().unwrap(), Ok((at(start, 1), "new")));
        see(&mut looks, &slow, start, "old");
        assert!(matches!(looks.ask(&1, Some(start), at(start, 2)), Asked::Known(_, "new")));
    }

    #[test]
    fn after_a_write_no_earlier_look_counts() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let mut before = wait(&mut looks, 1, None, start);
        let call = looks.begin(20, at(start, 2)).unwrap();
        looks.spoil(&1);
        let mut after = wait(&mut looks, 1, Some(start), at(start, 3));
        assert!(looks.is_wanted(), "the call under way does not count");
        see(&mut looks, &call, at(start, 2), "old");
        // He asked before the write, so he could have seen this.
        assert!(before.try_recv().unwrap().is_ok());
        assert!(after.try_recv().is_err());
        let _wait = wait(&mut looks, 1, Some(start), at(start, 4));
        let call = looks.begin(20, at(start, 4)).unwrap();
        see(&mut looks, &call, at(start, 4), "new");
        assert_eq!(after.try_recv().unwrap(), Ok((at(start, 4), "new")));
        looks.spoil(&1);
        let _wait = wait(&mut looks, 1, Some(start), at(start, 5));
    }

    #[test]
    fn room_is_filled_with_the_oldest_looks_that_are_of_interest() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        for key in 1..=6 {
            let _answer = wait(&mut looks, key, None, start);
            let call = looks.begin(1, at(start, u64::from(key))).unwrap();
            see(&mut looks, &call, at(start, u64::from(key)), "seen");
        }
        // 1 is long out of interest, 5 and 6 were looked at just now.
        for key in [2, 4, 5, 6] {
            assert!(matches!(looks.ask(&key, Some(start), at(start, 110)), Asked::Known(..)));
        }
        let _answers = [5, 6].map(|key| wait(&mut looks, key, None, at(start, 115)));
        let call = looks.begin(2, at(start, 121)).unwrap();
        see(&mut looks, &call, at(start, 121), "seen");
        let _answer = wait(&mut looks, 7, None, at(start, 121));
        let call = looks.begin(4, at(start, 121)).unwrap();
        assert_eq!(call.keys, [7, 2, 4]);
        // What is under way is not filled in a second time.
        let _answer = wait(&mut looks, 8, None, at(start, 121));
        assert_eq!(looks.begin(4, at(start, 121)).unwrap().keys, [8]);
    }

    #[test]
    fn the_longest_waiting_come_first_and_who_went_away_is_not_looked_for() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let _nine = wait(&mut looks, 9, None, start);
        let _unrelated = looks.begin(1, start).unwrap();
        let _eight = wait(&mut looks, 8, None, start);
        let _again = looks.begin(1, start).unwrap();
        let _five = wait(&mut looks, 5, None, start);
        let _unrelated = looks.begin(1, start).unwrap();
        let gone = wait(&mut looks, 3, None, start);
        drop(gone);
        let (_seven, _one) = (wait(&mut looks, 7, None, start), wait(&mut looks, 1, None, start));
        assert_eq!(looks.begin(20, start).unwrap().keys, [1, 7]);
    }

    #[test]
    fn what_aws_will_not_show_is_looked_at_alone_until_it_does() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let missing = || Err(Error::fake(ErrorKind::Missing, "1", "RuleNotFound"));
        let _answer = wait(&mut looks, 1, None, start);
        let call = looks.begin(20, start).unwrap();
        looks.answer(call.number, &1, &missing());
        looks.end(&call);
        let (_two, _one) = (wait(&mut looks, 2, None, start), wait(&mut looks, 1, None, start));
        let first = looks.begin(20, start).unwrap();
        let second = looks.begin(20, start).unwrap();
        assert_eq!((&*first.keys, &*second.keys), (&[1][..], &[2][..]));
        see(&mut looks, &first, start, "there again");
        let (_two, _one) = (wait(&mut looks, 2, None, start), wait(&mut looks, 1, None, start));
        assert_eq!(looks.begin(20, start).unwrap().keys, [1, 2]);
    }

    #[test]
    fn a_call_that_broke_off_leaves_nobody_waiting() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let mut answer = wait(&mut looks, 1, None, start);
        let call = looks.begin(20, start).unwrap();
        looks.end(&call);
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(!looks.is_wanted());
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let _answers: Vec<_> = (0..1000).map(|key| wait(&mut looks, key, None, start)).collect();
        while let Some(call) = looks.begin(20, start) {
            see(&mut looks, &call, start, "seen");
        }
        let _answer = wait(&mut looks, 5, None, at(start, 601));
        assert_eq!(looks.entries.len(), 1);
    }
}
