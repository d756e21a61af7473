//! One world of the picture: three strips, one above the other, that share the time.

use std::fmt::Write;

use super::drawing::{Anchor, Area, Drawing, FAINT, INK, MUTED, Text};
use super::scale::Scale;
use super::{Frame, LEFT, MARGIN_LEFT, MARGIN_RIGHT, RIGHT};
use crate::demo::figures::{grouped, share};
use crate::demo::world::{Sample, World};

const STABLE: &str = "#b8c4d0";
const CANARY: &str = "#2f6feb";
/// The canary's colour where it covers much.
const CANARY_AREA: &str = "#82abf5";
/// What was asked for and is not yet true.
const LATE: &str = "#fbe3a8";
const FAILED: &str = "#d1242f";

/// From the top of a world to the top of the next one.
pub(super) const HEIGHT: f64 = FAILURES.bottom + 24.0;

/// Seen from the top of the world.
const WEIGHTS: Strip = Strip { top: 42.0, bottom: 112.0 };
const PODS: Strip = Strip { top: 126.0, bottom: 176.0 };
const FAILURES: Strip = Strip { top: 190.0, bottom: 230.0 };

/// What the pods paid take of a heading.
const PODS_WIDTH: f64 = 126.0;
/// Labels of steps that would be closer than this many pixels to the one before are left out.
const LABEL_WIDTH: f64 = 34.0;

/// A part of a world's height.
#[derive(Debug, Clone, Copy)]
struct Strip {
    top: f64,
    bottom: f64,
}

/// A world that is being drawn.
struct Band<'a> {
    drawing: &'a mut Drawing,
    frame: &'a Frame,
    world: &'a World,
    end: f64,
}

pub(super) fn draw(drawing: &mut Drawing, frame: &Frame, world: &World, top: f64) {
    let end = frame.x(world.end());
    let mut band = Band { drawing, frame, world, end };
    band.heading(top);
    band.weights(WEIGHTS.below(top));
    band.pods(PODS.below(top));
    band.failures(FAILURES.below(top));
    band.steps(top);
}

impl Strip {
    fn below(self, top: f64) -> Self {
        Self { top: self.top + top, bottom: self.bottom + top }
    }

    fn scale(self, most: f64) -> Scale {
        Scale { domain: most, from: self.bottom, to: self.top }
    }
}

impl<'a> Band<'a> {
    fn heading(&mut self, top: f64) {
        let traffic = &self.world.traffic;
        let (requests, failed) = (traffic.requests, traffic.failed());
        let (colour, what) = match failed {
            0 => (MUTED, format!("none of {} requests failed", grouped(requests))),
            _ => {
                let part = share(failed, requests);
                (FAILED, format!("{} of {} requests failed ({part})", grouped(failed), grouped(requests)))
            }
        };
        let pods = format!("{} pod-seconds", grouped(self.world.pod_time.as_secs()));
        let y = top + 16.0;
        self.drawing.line("divider", FAINT, "", (MARGIN_LEFT, top - 6.0), (MARGIN_RIGHT, top - 6.0));
        self.drawing.text(&Text { size: 14.0, bold: true, ..Text::new(MARGIN_LEFT, y, INK, &self.world.name) });
        let summary =
            Text { size: 12.5, anchor: Anchor::End, ..Text::new(MARGIN_RIGHT - PODS_WIDTH, y, colour, &what) };
        self.drawing.text(&Text { bold: failed > 0, ..summary });
        self.drawing.text(&Text { colour: MUTED, words: &pods, x: MARGIN_RIGHT, bold: false, ..summary });
    }

    fn weights(&mut self, strip: Strip) {
        self.axis(strip, "canary weight", "100 %", &[("wished", INK), ("true", CANARY)]);
        let y = strip.scale(100.0);
        let height = |percent: u16| y.at(f64::from(percent.min(100)));
        for (sample, from, to) in self.spans(|sample| (sample.wished, sample.farthest())) {
            let Some(farthest) = sample.farthest().filter(|farthest| *farthest != sample.wished) else { continue };
            let (top, bottom) = (height(farthest.max(sample.wished)), height(farthest.min(sample.wished)));
            self.drawing.area("late", LATE, Area { left: from, top, right: to, bottom });
        }
        let rules = self.world.samples.iter().map(|sample| sample.actual.len()).max().unwrap_or_default();
        for rule in 0..rules {
            let weight = |sample: &Sample| sample.actual.get(rule).copied();
            let path = self.staircase(|sample| weight(sample).map(height));
            self.drawing.path("true", CANARY, r#" stroke-width="2""#, &path);
        }
        let path = self.staircase(|sample| Some(height(sample.wished)));
        self.drawing.path("wished", INK, r#" stroke-width="1.2" stroke-dasharray="4 3""#, &path);
    }

    fn pods(&mut self, strip: Strip) {
        let most = self.frame.most_pods;
        self.axis(strip, "pods", &most.to_string(), &[("canary", CANARY), ("stable", MUTED)]);
        let y = strip.scale(f64::from(most));
        for (sample, left, right) in self.spans(|sample| (sample.stable_pods, sample.canary_pods)) {
            let middle = y.at(f64::from(sample.stable_pods));
            let top = y.at(f64::from(sample.stable_pods + sample.canary_pods));
            if sample.stable_pods > 0 {
                self.drawing.area("stable", STABLE, Area { left, top: middle, right, bottom: strip.bottom });
            }
            if sample.canary_pods > 0 {
                self.drawing.area("canary", CANARY_AREA, Area { left, top, right, bottom: middle });
            }
        }
    }

    fn failures(&mut self, strip: Strip) {
        let most = self.frame.most_failures;
        self.axis(strip, "failures", &grouped(most), &[("per second", FAILED)]);
        let y = strip.scale(most as f64);
        let failures = self.world.traffic.failed_per_second();
        for (second, failed) in (0u32..).zip(&failures).filter(|(_, failed)| **failed > 0) {
            let (left, right) = (self.frame.times.at(f64::from(second)), self.frame.times.at(f64::from(second + 1)));
            // One failure among hundreds is still to be seen.
            let top = y.at(*failed as f64).min(strip.bottom - 1.5);
            let gap = if right - left > 3.0 { 1.0 } else { 0.0 };
            self.drawing.area("failure", FAILED, Area { left, top, right: right - gap, bottom: strip.bottom });
        }
        if failures.iter().all(|failed| *failed == 0) {
            self.drawing.text(&Text::new(LEFT + 6.0, strip.bottom - 6.0, MUTED, "none"));
        }
    }

    /// When the steps were asked for, through all strips.
    fn steps(&mut self, top: f64) {
        let (weights, failures) = (WEIGHTS.below(top), FAILURES.below(top));
        let mut free_from = LEFT;
        for step in &self.world.steps {
            let x = self.frame.x(step.asked);
            let style = r#" stroke-width="1" stroke-dasharray="1 3""#;
            self.drawing.line("step", MUTED, style, (x, weights.top - 6.0), (x, failures.bottom));
            if x >= free_from {
                let label = Text::new(x, weights.top - 9.0, INK, &step.label);
                self.drawing.text(&Text { anchor: Anchor::Middle, ..label });
                free_from = x + LABEL_WIDTH;
            }
        }
    }

    /// Ground line, name and largest value of a strip on the left, and what its colours mean on the right.
    fn axis(&mut self, strip: Strip, name: &str, most: &str, key: &[(&str, &str)]) {
        for y in [strip.top, strip.bottom] {
            self.drawing.line("grid", FAINT, "", (LEFT, y), (RIGHT, y));
        }
        let value = Text { anchor: Anchor::End, ..Text::new(LEFT - 6.0, 0.0, MUTED, "") };
        self.drawing.text(&Text { y: strip.top + 4.0, words: most, ..value });
        self.drawing.text(&Text { y: strip.bottom + 3.0, words: "0", ..value });
        let mut y = strip.top + 4.0;
        self.drawing.text(&Text { bold: true, ..Text::new(RIGHT + 8.0, y, INK, name) });
        for (words, colour) in key {
            y += 14.0;
            self.drawing.text(&Text::new(RIGHT + 8.0, y, colour, words));
        }
    }

    /// The times in which a value of the samples stays the same: its first sample, and where it begins and ends.
    fn spans<T: PartialEq>(&self, value: impl Fn(&Sample) -> T) -> Vec<(&'a Sample, f64, f64)> {
        let world: &'a World = self.world;
        let mut spans: Vec<(&Sample, f64, f64)> = Vec::new();
        for sample in &world.samples {
            let x = self.frame.x(sample.at);
            match spans.last_mut() {
                Some((first, _, _)) if value(first) == value(sample) => continue,
                Some((_, _, end)) => *end = x,
                None => {}
            }
            spans.push((sample, x, self.end));
        }
        spans
    }

    /// A line that holds its height until the next sample; broken where there is none.
    fn staircase(&self, height: impl Fn(&Sample) -> Option<f64>) -> String {
        let mut path = String::new();
        let mut drawn = false;
        for (sample, from, to) in self.spans(&height) {
            let Some(y) = height(sample) else {
                drawn = false;
                continue;
            };
            // Writing into a String cannot fail.
            let _ = match drawn {
                true => write!(path, "V{y:.1}H{to:.1}"),
                false => write!(path, "M{from:.1} {y:.1}H{to:.1}"),
            };
            drawn = true;
        }
        path
    }
}
