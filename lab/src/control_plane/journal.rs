//! What happened to the account: every write with its time and what it changed, and how often each operation was called.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::model::arn::Kind;
use crate::control_plane::model::shapes::Action;

/// Weights of a rule's forward action, by target group ARN; 0 to 999 each.
pub type Weights = BTreeMap<String, u16>;

/// One call of a writing operation, accepted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// 1 for the first write of this lab, without gaps. Writes take effect in this order.
    pub sequence: u64,
    /// Milliseconds from the lab's start until the write took effect or was refused.
    pub ms: u64,
    /// Milliseconds from the lab's start until reads and load balancer nodes see it: `ms`, unless a fault makes it late.
    pub shown_ms: u64,
    /// The moment of `ms` on the wall clock.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// Name of the operation, such as `ModifyRule`.
    pub operation: String,
    /// The ARN that the call named, or the name that it gave to what it creates.
    pub subject: Option<String>,
    /// Whether it took effect.
    pub outcome: Outcome,
    /// What it made, changed or deleted; empty when refused.
    pub changes: Vec<Change>,
    /// The `User-Agent` of the caller: it tells one writer from another.
    pub user_agent: Option<String>,
    /// In whose name it was signed, if a role was assumed: `arn:aws:sts::<account>:assumed-role/<name>/<session>`.
    pub assumed_role: Option<String>,
}

/// Whether a write took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect. With a fault of the lab's own, the caller may not have been told so.
    Accepted,
    /// It changed nothing.
    Refused {
        /// AWS's error code.
        code: String,
        /// The sentence that came with it.
        message: String,
        /// The refusal was a fault that someone had switched on, not the answer to the request.
        injected: bool,
    },
}

/// What a write did to one resource. A write that sets what is there already is a change too, with the same weights twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The resource.
    pub arn: String,
    /// Made, changed or deleted.
    pub kind: ChangeKind,
    /// Of a rule that was there before: its weights then.
    pub weights_before: Option<Weights>,
    /// Of a rule that is there after: its weights now.
    pub weights_after: Option<Weights>,
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It is still there.
    Modified,
    /// It is gone, or was not there in the first place.
    Deleted,
}

/// How often an operation was called, accepted or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// Calls so far.
    pub calls: u64,
    /// How many of them were refused, by a fault or because of the request.
    pub refused: u64,
    /// Milliseconds from the lab's start until the last one was carried out.
    pub last_ms: u64,
}

/// The journal as `GET /lab/journal` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    /// When the lab was started.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
    /// Calls by operation, reads included.
    pub counts: BTreeMap<String, CallCount>,
    /// All writes, in the order in which they took effect.
    pub writes: Vec<JournalEntry>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<JournalEntry>,
    pub(crate) counts: BTreeMap<String, CallCount>,
}

/// Who calls, and when.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Time since the lab's start.
    pub(crate) elapsed: Duration,
    /// The same in whole milliseconds.
    pub(crate) ms: u64,
    pub(crate) at: SystemTime,
    pub(crate) user_agent: Option<String>,
    pub(crate) assumed_role: Option<String>,
}

impl JournalEntry {
    /// What this write did to the resource, if anything.
    pub fn change(&self, arn: &str) -> Option<&Change> {
        self.changes.iter().find(|change| change.arn == arn)
    }

    /// The write took effect.
    pub fn accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }
}

/// One line for people, with names instead of whole ARNs.
impl fmt::Display for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:03} s  {}", self.ms / 1000, self.ms % 1000, self.operation)?;
        if let Outcome::Refused { code, message, injected } = &self.outcome {
            let source = if *injected { " (injected)" } else { "" };
            return write!(f, " {} refused{source}: {code}: {message}", self.subject.as_deref().map_or("", resource));
        }
        for (index, change) in self.changes.iter().enumerate() {
            write!(f, "{} {}", if index == 0 { "" } else { "," }, resource(&change.arn))?;
            for (group, after) in change.weights_after.iter().flatten() {
                let name = resource(group).split('/').nth(1).unwrap_or(group);
                match change.weights_before.as_ref().and_then(|before| before.get(group)) {
                    Some(before) => write!(f, " {name} {before}→{after}")?,
                    None => write!(f, " {name} {after}")?,
                }
            }
        }
        Ok(())
    }
}

/// The part of an ARN that is not the same for everything in the lab.
fn resource(arn: &str) -> &str {
    arn.splitn(6, ':').nth(5).unwrap_or(arn)
}

impl Journal {
    pub(crate) fn count(&mut self, operation: &str, caller: &Caller, refused: bool) {
        let count = self.counts.entry(operation.to_owned()).or_insert(CallCount { calls: 0, refused: 0, last_ms: 0 });
        count.calls += 1;
        count.refused += u64::from(refused);
        count.last_ms = caller.ms;
    }

    /// `shown` is when reads see the changes, since the lab's start.
    pub(crate) fn accepted(
        &mut self,
        operation: &str,
        subject: Option<&str>,
        caller: &Caller,
        shown: Duration,
        changes: Vec<Change>,
    ) {
        self.add(operation, subject, caller, Outcome::Accepted, changes);
        if let Some(entry) = self.entries.last_mut() {
            entry.shown_ms = millis(shown);
        }
    }

    pub(crate) fn refused(
        &mut self,
        operation: &str,
        subject: Option<&str>,
        caller: &Caller,
        error: &ApiError,
        injected: bool,
    ) {
        let outcome = Outcome::Refused { code: error.code.to_string(), message: error.message.clone(), injected };
        self.add(operation, subject, caller, outcome, Vec::new());
    }

    fn add(&mut self, operation: &str, subject: Option<&str>, caller: &Caller, outcome: Outcome, changes: Vec<Change>) {
        let sequence = self.entries.last().map_or(1, |last| last.sequence + 1);
        self.entries.push(JournalEntry {
            sequence,
            ms: caller.ms,
            shown_ms: caller.ms,
            at: caller.at,
            operation: operation.to_owned(),
            subject: subject.map(str::to_owned),
            outcome,
            changes,
            user_agent: caller.user_agent.clone(),
            assumed_role: caller.assumed_role.clone(),
        });
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What became of the touched resources between two states.
pub(crate) fn changes(before: &Account, after: &Account, touched: &[String]) -> Vec<Change> {
    let change = |arn: &String| {
        let kind = match (exists(before, arn), exists(after, arn)) {
            (false, true) => ChangeKind::Created,
            (true, true) => ChangeKind::Modified,
            (_, false) => ChangeKind::Deleted,
        };
        Change { arn: arn.clone(), kind, weights_before: weights(before, arn), weights_after: weights(after, arn) }
    };
    touched.iter().map(change).collect()
}

fn exists(account: &Account, arn: &str) -> bool {
    account.tags(arn).is_ok()
}

fn weights(account: &Account, arn: &str) -> Option<Weights> {
    if Kind::of(arn) != Some(Kind::Rule) {
        return None;
    }
    let rule = account.rule(arn).ok()?;
    let groups = rule.actions.iter().flat_map(Action::target_groups);
    Some(groups.map(|group| (group.target_group_arn.clone(), group.weight.unwrap_or_default())).collect())
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(de::Error::custom)
    }
}
