//! From values to places.

/// Steps between times on the axis, in seconds, from fine to coarse.
const STEPS: [u16; 11] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
/// More would not be read.
const MOST_STEPS: u32 = 12;

/// A straight line from 0 to `domain` on the one side, and from place to place on the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) domain: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * value / self.domain
    }
}

/// The finest step that leaves the times readable.
pub(super) fn time_step(seconds: u32) -> usize {
    let fits = |step: &u16| seconds / u32::from(*step) <= MOST_STEPS;
    usize::from(STEPS.into_iter().find(fits).unwrap_or(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_meets_both_ends() {
        let scale = Scale { domain: 100.0, from: 80.0, to: 10.0 };
        assert_eq!([0.0, 50.0, 100.0].map(|value| scale.at(value)), [80.0, 45.0, 10.0]);
    }

    #[test]
    fn times_are_round_and_not_too_many() {
        let steps = [1, 12, 13, 60, 150, 600, 100_000].map(time_step);
        assert_eq!(steps, [1, 1, 2, 5, 20, 60, 3600]);
    }
}
