//! The few shapes that the picture is made of, as SVG.

use std::fmt::{Display, Write};

/// Letters.
pub(super) const INK: &str = "#1f2328";
/// Letters of less weight.
pub(super) const MUTED: &str = "#6b7480";
/// Lines that only guide the eye.
pub(super) const FAINT: &str = "#e3e7ec";

/// Families that look alike; the first is the one that comes with the program.
const FONTS: &str = "Noto Sans, Segoe UI, Helvetica, Arial, sans-serif";

/// An SVG document that grows.
#[derive(Debug)]
pub(super) struct Drawing {
    out: String,
}

/// Where a text is, seen from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Some words on one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) colour: &'a str,
    pub(super) words: &'a str,
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

/// Two corners, upper left and lower right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl<'a> Text<'a> {
    /// Small, from its place to the right.
    pub(super) fn new(x: f64, y: f64, colour: &'a str, words: &'a str) -> Self {
        Self { x, y, colour, words, size: 11.0, bold: false, anchor: Anchor::Start }
    }
}

impl Drawing {
    /// An empty sheet. The description is for those who cannot see it.
    pub(super) fn new(width: f64, height: f64, description: &str) -> Self {
        let description = escaped(description);
        let mut drawing = Self { out: String::new() };
        drawing.add(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{description}" font-family="{FONTS}">"#,
        ));
        let (inner_width, inner_height) = (width - 1.0, height - 1.0);
        drawing.add(format_args!(
            r##"<rect x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="8" fill="#ffffff" stroke="#d0d7de"/>"##
        ));
        drawing
    }

    pub(super) fn text(&mut self, text: &Text<'_>) {
        let anchor = match text.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if text.bold { r#" font-weight="bold""# } else { "" };
        let Text { x, y, colour, size, .. } = text;
        let words = escaped(text.words);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{words}</text>"#
        ));
    }

    /// A rectangle without a border, and without seams to its neighbours. The class says what it stands for.
    pub(super) fn area(&mut self, class: &str, colour: &str, area: Area) {
        // Rounded before they are subtracted, so that one area ends where the next begins.
        let [left, top, right, bottom] =
            [area.left, area.top, area.right, area.bottom].map(|edge| (edge * 10.0).round() / 10.0);
        let (width, height) = ((right - left).max(0.0), (bottom - top).max(0.0));
        self.add(format_args!(
            r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" shape-rendering="crispEdges"/>"#
        ));
    }

    /// A line from place to place; `style` is what else its element says, such as a dash pattern.
    pub(super) fn line(&mut self, class: &str, colour: &str, style: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"{style}/>"#
        ));
    }

    /// Straight lines along a path.
    pub(super) fn path(&mut self, class: &str, colour: &str, style: &str, path: &str) {
        self.add(format_args!(r#"<path class="{class}" d="{path}" fill="none" stroke="{colour}"{style}/>"#));
    }

    pub(super) fn finish(mut self) -> String {
        self.add("</svg>");
        self.out
    }

    fn add(&mut self, element: impl Display) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.out, "{element}");
    }
}

/// Text as it may stand in an element and in an attribute. Characters that XML has no way to write are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}
