//! When requests are due.

use std::time::Duration;

/// How requests are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// All the same distance apart.
    Even,
    /// Independent of each other, as customers are (a Poisson process). Seeded.
    Random,
}

/// The times of all requests, from the start of the load, in order.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: u32,
    arrivals: Arrivals,
    duration: Duration,
    rng: fastrand::Rng,
    number: u32,
    next: Duration,
}

impl Schedule {
    pub(super) fn new(rate: u32, arrivals: Arrivals, duration: Duration, seed: u64) -> Self {
        Self { rate, arrivals, duration, rng: fastrand::Rng::with_seed(seed), number: 0, next: Duration::ZERO }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = self.next;
        if due >= self.duration {
            return None;
        }
        self.number = self.number.checked_add(1)?;
        self.next = match self.arrivals {
            // From the number, so that rounding does not add up.
            Arrivals::Even => Duration::from_secs(1) * self.number / self.rate,
            // The gaps of a Poisson process are exponential; 1 - x is never zero.
            Arrivals::Random => due + Duration::from_secs_f64(-(1.0 - self.rng.f64()).ln() / f64::from(self.rate)),
        };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn even_requests_are_the_same_distance_apart_to_the_end() {
        let due: Vec<Duration> = Schedule::new(250, Arrivals::Even, MINUTE, 1).collect();
        assert_eq!(due.len(), 15_000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(4)));
        // A rate that does not divide a second does not drift.
        let thirds: Vec<Duration> = Schedule::new(3, Arrivals::Even, MINUTE, 1).collect();
        assert_eq!((thirds.len(), thirds[177]), (180, Duration::from_secs(59)));
    }

    #[test]
    fn random_requests_have_the_rate_and_no_memory() {
        let due: Vec<Duration> = Schedule::new(250, Arrivals::Random, MINUTE, 1).collect();
        // 15,000 are expected; four standard errors are 490.
        assert!((14_510..=15_490).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted());
        // Exponential gaps: as many as 1/e of them are longer than their mean.
        let long = due.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(4)).count();
        assert!((5_280..=5_760).contains(&long), "{long}");
        let again: Vec<Duration> = Schedule::new(250, Arrivals::Random, MINUTE, 1).collect();
        assert_eq!(due, again);
    }
}
