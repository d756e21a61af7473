//! The picture: for each world its weights, pods and failures over one common time, as SVG and as PNG.
//!
//! It is drawn by hand: small multiples with labels at the lines themselves are beyond what chart libraries do well.

use std::sync::Arc;
use std::time::Duration;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Options, Tree, fontdb};

use super::world::World;

mod band;
mod drawing;
mod scale;

use drawing::{Anchor, Drawing, INK, MUTED, Text};
use scale::{Scale, time_step};

/// Pixels of SVG; a README shows it in this width.
const WIDTH: f64 = 900.0;
/// Where times begin and end.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 784.0;
/// The edges of what is written.
const MARGIN_LEFT: f64 = 24.0;
const MARGIN_RIGHT: f64 = 876.0;
/// Above the first world.
const HEAD: f64 = 74.0;
/// Below the last one, for the times.
const FOOT: f64 = 34.0;

/// Pixels of PNG for each of SVG, for sharp letters on fine screens.
const PNG_SCALE: f32 = 2.0;

/// What there is to see.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// One short line.
    pub title: &'a str,
    /// One line that says what was done; up to about 130 characters fit.
    pub caption: &'a str,
    /// From top to bottom.
    pub worlds: &'a [World],
}

/// Why there is no PNG.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The text is not SVG.
    #[error("cannot read the SVG: {0}")]
    Svg(#[from] usvg::Error),
    /// It has no size, or one that is too large for memory.
    #[error("cannot make a picture of {width} by {height} pixels")]
    Size {
        /// Pixels of SVG.
        width: f32,
        /// Pixels of SVG.
        height: f32,
    },
    /// It was drawn but cannot be written.
    #[error("cannot write the PNG: {0}")]
    Encode(String),
}

/// What all worlds have in common, so that they can be compared.
struct Frame {
    /// In seconds; whole ones, at least one.
    seconds: u32,
    times: Scale,
    /// The most pods that any of them had; at least one.
    most_pods: u32,
    /// The most failures that any of them had within a second; at least one.
    most_failures: u64,
}

/// Draws the picture. It has its own white ground, so that it can be read on a dark page too.
#[must_use]
pub fn svg(picture: &Picture<'_>) -> String {
    let frame = Frame::around(picture.worlds);
    let end = picture.worlds.iter().fold(HEAD, |top, _| top + band::HEIGHT);
    let mut drawing = Drawing::new(WIDTH, end + FOOT, &format!("{}. {}", picture.title, picture.caption));
    drawing.text(&Text { size: 18.0, bold: true, ..Text::new(MARGIN_LEFT, 34.0, INK, picture.title) });
    drawing.text(&Text { size: 12.5, ..Text::new(MARGIN_LEFT, 55.0, MUTED, picture.caption) });
    let mut top = HEAD;
    for world in picture.worlds {
        band::draw(&mut drawing, &frame, world, top);
        top += band::HEIGHT;
    }
    let step = time_step(frame.seconds);
    for second in (0..=frame.seconds).step_by(step) {
        let x = frame.x(Duration::from_secs(u64::from(second)));
        let words = if second == 0 { "0 s".to_owned() } else { second.to_string() };
        drawing.text(&Text { anchor: Anchor::Middle, ..Text::new(x, end + 8.0, MUTED, &words) });
    }
    drawing.finish()
}

/// Turns an SVG of [`svg`] into a PNG of twice its size. The font comes with the program.
pub fn png(svg: &str) -> Result<Vec<u8>, PngError> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
    fonts.load_font_data(notosans::BOLD_TTF.to_vec());
    let options = Options { fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options)?;
    let size = tree.size();
    let too_large = PngError::Size { width: size.width(), height: size.height() };
    let scaled = size.to_int_size().scale_by(PNG_SCALE);
    let mut pixels = scaled.and_then(|size| Pixmap::new(size.width(), size.height())).ok_or(too_large)?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}

impl Frame {
    fn around(worlds: &[World]) -> Self {
        let end = worlds.iter().map(World::end).max().unwrap_or_default();
        let seconds = u32::try_from(end.as_secs() + u64::from(end.subsec_nanos() > 0)).unwrap_or(u32::MAX).max(1);
        let pods = worlds.iter().flat_map(|world| &world.samples).map(|sample| sample.stable_pods + sample.canary_pods);
        let failures = worlds.iter().flat_map(|world| world.traffic.failed_per_second());
        Self {
            seconds,
            times: Scale { domain: f64::from(seconds), from: LEFT, to: RIGHT },
            most_pods: pods.max().unwrap_or_default().max(1),
            most_failures: failures.max().unwrap_or_default().max(1),
        }
    }

    fn x(&self, at: Duration) -> f64 {
        self.times.at(at.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
