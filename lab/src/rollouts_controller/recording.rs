//! What a rollouts controller did, written so that two runs can be compared: one of the model, one of the real thing.
//!
//! A controller reconciles once more for every event, so how often it does the same says nothing, and neither does the
//! order in which pods happened to become ready. So a recording has one line for each deed that changed something:
//! * hashes are called V1, V2 and so on, in the order in which their ReplicaSets were made;
//! * the calls of a reconcile are one line, and none if they are those of the reconcile before;
//! * a Service that was moved and at once moved back has not moved: an abort does so on every reconcile.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Something that a rollouts controller did and that others saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It called its traffic router, and had an answer.
    Called(Called),
    /// It pointed a Service at the pods of a hash.
    Selected {
        /// The Service's name.
        service: String,
        /// The pod template hash; empty if the Service asks for none.
        hash: String,
    },
    /// It made a ReplicaSet, or wrote its `spec.replicas`.
    Scaled {
        /// The ReplicaSet's pod template hash.
        hash: String,
        /// The new `spec.replicas`.
        replicas: u32,
    },
    /// It wrote the Rollout's status.
    Recorded {
        /// `status.phase`; empty before the first reconcile.
        phase: String,
        /// `status.currentStepIndex`.
        step: Option<u32>,
        /// `status.stableRS`.
        stable: String,
        /// `status.canary.weights`: the canary's weight, and `verified`.
        weight: Option<(u32, Option<bool>)>,
    },
}

/// A call to a traffic router, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// RemoveManagedRoutes.
    RemoveManagedRoutes,
    /// UpdateHash.
    UpdateHash {
        /// The pod template hash of the canary.
        canary: String,
        /// The pod template hash of stable.
        stable: String,
    },
    /// SetWeight.
    SetWeight {
        /// The canary's weight.
        weight: u32,
        /// It was no error.
        done: bool,
    },
    /// VerifyWeight.
    VerifyWeight {
        /// The canary's weight.
        weight: u32,
        /// Nothing if the router does not verify.
        verified: Option<bool>,
    },
}

/// Writes down what was done.
#[must_use]
pub fn written(deeds: impl IntoIterator<Item = Deed>) -> String {
    let mut recording = Recording::default();
    for deed in deeds {
        recording.add(deed);
    }
    recording.lines.iter().map(|line| line.text.clone() + "\n").collect()
}

#[derive(Default)]
struct Recording {
    lines: Vec<Line>,
    /// ReplicaSets in the order in which they were made, each with its size.
    sizes: Vec<(String, u32)>,
    /// What the Services select, by name.
    selected: BTreeMap<String, String>,
    status: String,
    /// The calls of the reconcile that is under way.
    calls: Vec<String>,
    calls_before: Vec<String>,
}

struct Line {
    text: String,
    /// Of a line about a Service: its name, and what it selected before.
    moved: Option<(String, Option<String>)>,
}

impl Recording {
    fn add(&mut self, deed: Deed) {
        match deed {
            Deed::Called(call) => self.called(&call),
            Deed::Selected { service, hash } if !hash.is_empty() => self.moved(service, hash),
            Deed::Scaled { hash, replicas } => self.scaled(hash, replicas),
            Deed::Recorded { phase, step, stable, weight } if !phase.is_empty() => {
                let mut status = format!("status: {phase}, stable {}", self.named(&stable));
                if let Some(step) = step {
                    let _ = write!(status, ", step {step}");
                }
                if let Some((weight, verified)) = weight {
                    let _ = write!(status, ", weight {weight} {}", answer(verified));
                }
                if status != self.status {
                    self.status.clone_from(&status);
                    self.line(status);
                }
            }
            Deed::Selected { .. } | Deed::Recorded { .. } => {}
        }
    }

    /// A reconcile's calls end with VerifyWeight, or with an error, or where the next reconcile removes routes.
    fn called(&mut self, call: &Called) {
        let (said, ends) = match call {
            Called::RemoveManagedRoutes => {
                self.end_of_calls();
                ("RemoveManagedRoutes".to_owned(), false)
            }
            Called::UpdateHash { canary, stable } => {
                (format!("UpdateHash {} {}", self.named(canary), self.named(stable)), false)
            }
            Called::SetWeight { weight, done: true } => (format!("SetWeight {weight}"), false),
            Called::SetWeight { weight, done: false } => (format!("SetWeight {weight} failed"), true),
            Called::VerifyWeight { weight, verified } => (format!("VerifyWeight {weight} {}", answer(*verified)), true),
        };
        self.calls.push(said);
        if ends {
            self.end_of_calls();
        }
    }

    fn end_of_calls(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        if !calls.is_empty() && calls != self.calls_before {
            self.line(calls.join(", "));
            self.calls_before = calls;
        }
    }

    fn moved(&mut self, service: String, hash: String) {
        let mut before = self.selected.insert(service.clone(), hash.clone());
        let undone = |line: &mut Line| line.moved.as_ref().is_some_and(|(moved, _)| *moved == service);
        if let Some(Line { moved: Some((_, earlier)), .. }) = self.lines.pop_if(undone) {
            before = earlier;
        }
        if before.as_ref() != Some(&hash) {
            let text = format!("{service} -> {}", self.named(&hash));
            self.lines.push(Line { text, moved: Some((service, before)) });
        }
    }

    fn scaled(&mut self, hash: String, replicas: u32) {
        match self.sizes.iter_mut().find(|(known, _)| *known == hash) {
            Some((_, size)) if *size == replicas => return,
            Some((_, size)) => *size = replicas,
            None => self.sizes.push((hash.clone(), replicas)),
        }
        let version = self.named(&hash);
        self.line(format!("{version} = {replicas}"));
    }

    fn line(&mut self, text: String) {
        self.lines.push(Line { text, moved: None });
    }

    fn named(&self, hash: &str) -> String {
        match self.sizes.iter().position(|(known, _)| known == hash) {
            Some(made_before) => format!("V{}", made_before + 1),
            None if hash.is_empty() => "none".to_owned(),
            None => hash.to_owned(),
        }
    }
}

fn answer(verified: Option<bool>) -> &'static str {
    match verified {
        Some(true) => "verified",
        Some(false) => "not verified",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(hash: &str) -> Deed {
        Deed::Selected { service: "canary".to_owned(), hash: hash.to_owned() }
    }

    fn scaled(hash: &str, replicas: u32) -> Deed {
        Deed::Scaled { hash: hash.to_owned(), replicas }
    }

    fn calls(weight: u32) -> [Deed; 2] {
        [Called::SetWeight { weight, done: true }, Called::VerifyWeight { weight, verified: Some(true) }]
            .map(Deed::Called)
    }

    #[test]
    fn what_repeats_is_written_once() {
        let deeds = [scaled("a", 0), scaled("a", 0)].into_iter().chain(calls(5)).chain(calls(5));
        let deeds = deeds.chain([scaled("b", 0), scaled("a", 1)]).chain(calls(5)).chain(calls(6));
        let lines =
            "V1 = 0\nSetWeight 5, VerifyWeight 5 verified\nV2 = 0\nV1 = 1\nSetWeight 6, VerifyWeight 6 verified\n";
        assert_eq!(written(deeds), lines);
    }

    #[test]
    fn a_service_that_was_moved_back_has_not_moved() {
        let deeds = [scaled("a", 0), scaled("b", 0), selected("a"), selected("b"), selected("a")];
        assert_eq!(written(deeds.clone()), "V1 = 0\nV2 = 0\ncanary -> V1\n");
        let deeds = deeds.into_iter().chain([scaled("b", 1), selected("b"), selected("a")]);
        assert_eq!(written(deeds), "V1 = 0\nV2 = 0\ncanary -> V1\nV2 = 1\n");
    }

    #[test]
    fn calls_that_an_error_or_a_lack_of_pods_cut_short_are_told_apart() {
        let removed = Deed::Called(Called::RemoveManagedRoutes);
        let failed = Deed::Called(Called::SetWeight { weight: 5, done: false });
        let deeds = [removed.clone(), removed.clone(), failed.clone(), failed, removed];
        assert_eq!(
            written(deeds),
            "RemoveManagedRoutes\nRemoveManagedRoutes, SetWeight 5 failed\nSetWeight 5 failed\n"
        );
    }
}
