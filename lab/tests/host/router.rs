//! A traffic router that says yes, or what it is told to say, and remembers what it was asked.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use lab::kubernetes::Cluster;
use lab::rollouts_controller::recording::Called;
use lab::rollouts_controller::{CallError, TrafficRouter};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::shop::PATIENCE;

/// What a router says instead of yes to a call for one weight, so many times.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) weight: u32,
    pub(crate) times: usize,
    pub(crate) says: Says,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// SetWeight is an error.
    Failed,
    /// SetWeight takes so long.
    After(Duration),
    /// VerifyWeight says no.
    NotVerified,
    /// VerifyWeight says that this router does not verify.
    Unknown,
    /// VerifyWeight is an error.
    CannotVerify,
}

#[derive(Debug)]
pub(crate) struct Router {
    cluster: Cluster,
    answers: Mutex<Vec<Answer>>,
    calls: watch::Sender<Vec<Call>>,
}

/// A call, when it came, and the version of the cluster at that time.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) version: u64,
    pub(crate) called: Called,
}

impl Router {
    pub(crate) fn new(cluster: Cluster, answers: &[Answer]) -> Self {
        Self { cluster, answers: Mutex::new(answers.to_vec()), calls: watch::Sender::default() }
    }

    /// From now on it says this too.
    pub(crate) fn will_say(&self, answer: Answer) {
        self.answers.lock().unwrap().push(answer);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// When a weight was asked for, each time.
    pub(crate) fn times_of(&self, weight: u32) -> Vec<Instant> {
        times_of(&self.calls.borrow(), weight)
    }

    /// Waits until a weight was asked for so many times, and says when that was.
    pub(crate) async fn until_asked(&self, weight: u32, times: usize) -> Vec<Instant> {
        let mut calls = self.calls.subscribe();
        let asked = calls.wait_for(|calls| times_of(calls, weight).len() >= times);
        let asked = timeout(PATIENCE, asked).await;
        times_of(&asked.unwrap_or_else(|_| panic!("{weight} was not asked for {times} times")).unwrap(), weight)
    }

    fn called(&self, called: Called) {
        let version = *self.cluster.version().borrow();
        self.calls.send_modify(|calls| calls.push(Call { at: Instant::now(), version, called }));
    }

    /// What it is told to say now, if anything of these.
    fn says(&self, weight: u32, any_of: impl Fn(Says) -> bool) -> Option<Says> {
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.iter_mut().find(|one| one.weight == weight && one.times > 0 && any_of(one.says))?;
        answer.times -= 1;
        Some(answer.says)
    }
}

fn times_of(calls: &[Call], asked: u32) -> Vec<Instant> {
    let is = |call: &&Call| matches!(call.called, Called::SetWeight { weight, .. } if weight == asked);
    calls.iter().filter(is).map(|call| call.at).collect()
}

#[async_trait]
impl TrafficRouter for Router {
    async fn r#type(&self) -> Result<String, CallError> {
        Ok("test".to_owned())
    }

    async fn update_hash(&self, _: &Value, canary: &str, stable: &str) -> Result<(), CallError> {
        self.called(Called::UpdateHash { canary: canary.to_owned(), stable: stable.to_owned() });
        Ok(())
    }

    async fn set_weight(&self, _: &Value, weight: u32) -> Result<(), CallError> {
        let says = self.says(weight, |says| matches!(says, Says::Failed | Says::After(_)));
        let done = says != Some(Says::Failed);
        self.called(Called::SetWeight { weight, done });
        if let Some(Says::After(wait)) = says {
            tokio::time::sleep(wait).await;
        }
        if done { Ok(()) } else { Err(CallError(format!("weight {weight} is not true"))) }
    }

    async fn verify_weight(&self, _: &Value, weight: u32) -> Result<Option<bool>, CallError> {
        let answer = match self.says(weight, |says| !matches!(says, Says::Failed | Says::After(_))) {
            None => Ok(Some(true)),
            Some(Says::NotVerified) => Ok(Some(false)),
            Some(Says::Unknown) => Ok(None),
            Some(_) => Err(CallError("nobody knows".to_owned())),
        };
        self.called(Called::VerifyWeight { weight, verified: answer.clone().unwrap_or(Some(false)) });
        answer
    }

    async fn remove_managed_routes(&self, _: &Value) -> Result<(), CallError> {
        self.called(Called::RemoveManagedRoutes);
        Ok(())
    }
}
