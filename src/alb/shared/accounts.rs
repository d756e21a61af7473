//! What calls share: AWS counts them by account and region in whoever's name they are made, and what one role may see says
//! nothing about another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::BucketSize;
use super::limiter::Limiter;
use super::reader::{Around, Reader, Rules, TagsOf, Targets};
use crate::alb::kept::Kept;
use crate::alb::{LoadBalancer, arn};

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    region: String,
    account: String,
}

impl Place {
    /// Where the resource of this ARN is.
    pub(super) fn of(arn: &str) -> Self {
        let (region, account) = arn::home(arn);
        Self { region: region.to_owned(), account: account.to_owned() }
    }
}

/// The buckets of all accounts.
#[derive(Debug)]
pub(super) struct Limits {
    writes: BucketSize,
    buckets: Mutex<Kept<Place, Buckets>>,
}

/// The buckets of one account in one region.
#[derive(Debug)]
struct Buckets {
    reads: Arc<Limiter>,
    writes: Arc<Limiter>,
}

impl Limits {
    /// `writes` is what all writes of an account in a region may use.
    pub(super) fn new(writes: BucketSize) -> Self {
        Self { writes, buckets: Mutex::default() }
    }

    fn of(&self, place: &Place) -> Arc<Buckets> {
        locked(&self.buckets).get_or_make(place.clone(), |Place { region, account }| {
            let limiter = |calls: &str, size| {
                Arc::new(Limiter::new(format!("{calls} calls of account {account} in {region}"), size))
            };
            Buckets { reads: limiter("Describe", BucketSize::DESCRIBE), writes: limiter("Modify", self.writes) }
        })
    }
}

/// What all calls in one name to one account in one region share.
#[derive(Debug)]
pub(super) struct Account {
    /// Held so that nobody makes others while this account is in use.
    buckets: Arc<Buckets>,
    pub(super) rules: Arc<Reader<Rules>>,
    pub(super) targets: Arc<Reader<Targets>>,
    pub(super) around: Arc<Reader<Around>>,
    pub(super) tags: Arc<Reader<TagsOf>>,
}

impl Account {
    pub(super) fn new(balancer: &Arc<dyn LoadBalancer>, limits: &Limits, place: &Place) -> Self {
        let buckets = limits.of(place);
        let reads = &buckets.reads;
        Self {
            rules: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(reads))),
            targets: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(reads))),
            around: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(reads))),
            tags: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(reads))),
            buckets,
        }
    }

    pub(super) fn writes(&self) -> &Arc<Limiter> {
        &self.buckets.writes
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
