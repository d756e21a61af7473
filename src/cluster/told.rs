//! Which Events have been written, so that people are told and not flooded. Pure.
//!
//! The same words again are counted on the first Event, as client-go does (`tools/record/events_cache.go`). New words have a
//! budget for each reason of each Rollout: an update of ten steps says every one of them at once, and what goes on for ever
//! says one in 30 s. So no reason takes another's room, nor does one Rollout another's. All of it is in the log anyway.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Event;

/// For so long after it was last written, an Event is counted up and not written anew.
const COUNTED: Duration = Duration::from_secs(600);

/// An Event is counted up so often at most. What comes sooner is counted the next time.
const PACE: Duration = Duration::from_secs(10);

/// How many new Events of one reason may be written at once.
const BURST: u32 = 10;

/// After this long one more may be.
const REFILL: Duration = Duration::from_secs(30);

/// How many reasons of Rollouts are remembered. The one that was silent longest is forgotten first.
const TOPICS: usize = 2048;

/// What was written lately.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<Topic, Said>);

/// A Rollout's uid, and a reason.
type Topic = (String, &'static str);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// A new Event of this name.
    New(String),
    /// This Event has happened so often now.
    Again(String, u32),
    /// Nothing now.
    Nothing,
}

#[derive(Debug)]
struct Said {
    /// New Events that may be written before `REFILL` gives another.
    budget: u32,
    refilled: Instant,
    asked: Instant,
    /// No more than the budget lets through in `COUNTED`: 30.
    events: Vec<Written>,
}

#[derive(Debug)]
struct Written {
    message: String,
    name: String,
    count: u32,
    at: Instant,
}

impl Told {
    /// Decides, and remembers it as done: whoever says the same meanwhile must not say it twice. `name` is for a new Event.
    pub(super) fn decide(&mut self, uid: &str, event: &Event, name: &str, now: Instant) -> Write {
        let topic = (uid.to_owned(), event.reason);
        if self.0.len() >= TOPICS && !self.0.contains_key(&topic) {
            let silent = self.0.iter().min_by_key(|(_, said)| said.asked).map(|(topic, _)| topic.clone());
            silent.map(|topic| self.0.remove(&topic));
        }
        let said = self.0.entry(topic).or_insert_with(|| Said {
            budget: BURST,
            refilled: now,
            asked: now,
            events: Vec::new(),
        });
        said.asked = now;
        said.events.retain(|written| now.duration_since(written.at) <= COUNTED);
        if let Some(written) = said.events.iter_mut().find(|written| written.message == event.message) {
            written.count = written.count.saturating_add(1);
            if now.duration_since(written.at) < PACE {
                return Write::Nothing;
            }
            written.at = now;
            return Write::Again(written.name.clone(), written.count);
        }
        while said.budget < BURST && now.duration_since(said.refilled) >= REFILL {
            said.budget += 1;
            said.refilled += REFILL;
        }
        if said.budget == 0 {
            return Write::Nothing;
        }
        if said.budget == BURST {
            said.refilled = now;
        }
        said.budget -= 1;
        let (message, name) = (event.message.clone(), name.to_owned());
        said.events.push(Written { message, name: name.clone(), count: 1, at: now });
        Write::New(name)
    }

    /// It could not be written, or somebody has deleted it. The same words make a new Event.
    pub(super) fn forget(&mut self, uid: &str, event: &Event) {
        if let Some(said) = self.0.get_mut(&(uid.to_owned(), event.reason)) {
            said.events.retain(|written| written.message != event.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &'static str, message: &str) -> Event {
        Event { warning: true, reason, message: message.to_owned() }
    }

    fn new(name: &str) -> Write {
        Write::New(name.to_owned())
    }

    /// One Rollout that says things.
    struct Speaker(Told, Instant);

    impl Speaker {
        fn new() -> Self {
            Self(Told::default(), Instant::now())
        }

        fn says(&mut self, after: u64, reason: &'static str, message: &str, name: &str) -> Write {
            self.1 += Duration::from_secs(after);
            self.0.decide("u-1", &event(reason, message), name, self.1)
        }
    }

    #[test]
    fn the_same_words_are_counted_on_the_first_event() {
        let mut rollout = Speaker::new();
        assert_eq!(rollout.says(0, "Held", "no pods", "a"), new("a"));
        assert_eq!(rollout.says(3, "Held", "no pods", "b"), Write::Nothing);
        assert_eq!(rollout.says(3, "Held", "no pods", "c"), Write::Nothing);
        assert_eq!(rollout.says(4, "Held", "no pods", "d"), Write::Again("a".to_owned(), 4));
        assert_eq!(rollout.says(600, "Held", "no pods", "e"), Write::Again("a".to_owned(), 5));
        assert_eq!(rollout.says(601, "Held", "no pods", "f"), new("f"), "the first is long past");
    }

    #[test]
    fn other_words_and_other_rollouts_have_events_of_their_own() {
        let mut rollout = Speaker::new();
        assert_eq!(rollout.says(0, "Held", "no pods", "a"), new("a"));
        assert_eq!(rollout.says(0, "Held", "no rule", "b"), new("b"));
        assert_eq!(rollout.says(0, "Shifted", "no pods", "c"), new("c"));
        let now = rollout.1;
        assert_eq!(rollout.0.decide("u-2", &event("Held", "no pods"), "d", now), new("d"));
    }

    #[test]
    fn one_reason_does_not_take_anothers_room() {
        let mut rollout = Speaker::new();
        let written = |rollout: &mut Speaker, after: u64, said: std::ops::Range<u32>| {
            let says = said.map(|number| rollout.says(after, "PutBack", &format!("{number}"), "x"));
            says.filter(|write| *write == new("x")).count()
        };
        assert_eq!(written(&mut rollout, 0, 0..100), 10);
        assert_eq!(rollout.says(0, "Shifted", "10 %", "s"), new("s"));
        assert_eq!(written(&mut rollout, 1, 100..160), 2, "one in 30 s");
        assert_eq!(written(&mut rollout, 60, 160..170), 10, "slower than the budget grows");
        assert_eq!(rollout.says(3600, "Shifted", "20 %", "s"), new("s"));
        assert_eq!(written(&mut rollout, 0, 200..300), 10, "it does not grow for ever");
    }

    #[test]
    fn what_could_not_be_written_is_new_the_next_time() {
        let mut rollout = Speaker::new();
        rollout.says(0, "Held", "no pods", "a");
        rollout.0.forget("u-1", &event("Held", "no pods"));
        assert_eq!(rollout.says(0, "Held", "no pods", "b"), new("b"));
    }

    #[test]
    fn it_remembers_no_more_than_so_much() {
        let (mut told, start) = (Told::default(), Instant::now());
        for number in 0..3 * TOPICS {
            let at = start + Duration::from_millis(number.try_into().unwrap());
            told.decide(&number.to_string(), &event("Held", "no pods"), "a", at);
        }
        assert_eq!(told.0.len(), TOPICS);
        assert!(!told.0.contains_key(&("0".to_owned(), "Held")), "the oldest went first");
        for number in 0..100_000 {
            let at = start + Duration::from_secs(number);
            told.decide("u-1", &event("Held", &number.to_string()), "a", at);
        }
        assert!(told.0.values().all(|said| said.events.len() <= 30));
    }
}
