use proptest::prelude::*;
use resvg::usvg::roxmltree::{Document, Node};

use super::*;
use crate::demo::load::{Outcome, Record, Traffic};
use crate::demo::rehearsal;
use crate::demo::world::{Sample, Step};

fn picture(worlds: &[World]) -> Picture<'_> {
    Picture {
        title: "Five weight steps under 15,000 requests a minute",
        caption: "Same application, same slow load balancer controller. Shaded: asked for and not yet true on every rule.",
        worlds,
    }
}

fn of_class<'a>(document: &'a Document<'_>, class: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

fn number(node: &Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

#[test]
fn each_second_with_failures_has_a_bar() {
    let worlds = rehearsal::worlds();
    let svg = svg(&picture(&worlds));
    let document = Document::parse(&svg).unwrap();
    let bad = |world: &World| world.traffic.failed_per_second().iter().filter(|failed| **failed > 0).count();
    let seconds: usize = worlds.iter().map(bad).sum();
    assert!(seconds > 10);
    assert_eq!(of_class(&document, "failure").len(), seconds);
    assert_eq!(of_class(&document, "step").len(), 15);
    assert_eq!(of_class(&document, "wished").len(), 3);
    assert_eq!(of_class(&document, "true").len(), 6, "a line for each rule");
    for text in ["built-in", "plugin", "workaround", "60 %"] {
        assert!(document.descendants().any(|node| node.text() == Some(text)), "{text}");
    }
}

#[test]
fn failures_have_one_scale_in_all_worlds() {
    let failing = |name: &str, failures: usize| {
        let record = |number: usize| Record {
            at: Duration::ZERO,
            latency: Duration::ZERO,
            outcome: if number < failures { Outcome::Status(502) } else { Outcome::Status(200) },
            version: None,
        };
        let records: Vec<_> = (0..200).map(|number| Some(record(number))).collect();
        World { name: name.to_owned(), traffic: Traffic::of(&records), ..World::default() }
    };
    let svg = svg(&picture(&[failing("a", 200), failing("b", 50)]));
    let document = Document::parse(&svg).unwrap();
    let heights: Vec<f64> = of_class(&document, "failure").iter().map(|bar| number(bar, "height")).collect();
    assert_eq!(heights, [40.0, 10.0]);
}

#[test]
fn the_rule_that_is_late_is_shaded() {
    let sample = |second: u64, actual: [u16; 2]| Sample {
        at: Duration::from_secs(second),
        wished: 60,
        actual: actual.to_vec(),
        stable_pods: 4,
        canary_pods: 6,
    };
    let samples = vec![sample(0, [10, 10]), sample(2, [60, 10]), sample(5, [60, 60]), sample(10, [60, 60])];
    let svg = svg(&picture(&[World { samples, ..World::default() }]));
    let document = Document::parse(&svg).unwrap();
    let late = of_class(&document, "late");
    assert_eq!(late.len(), 1, "from the question until the last rule follows");
    assert!((number(&late[0], "width") - (RIGHT - LEFT) / 2.0).abs() < 0.1);
}

#[test]
fn names_cannot_break_the_picture() {
    let name = "<script>\"&'\u{0}\u{ffff}é".to_owned();
    let step = Step { label: "<5 %".to_owned(), asked: Duration::from_secs(1), settled: None };
    let world = World { name, steps: vec![step], ..World::default() };
    let svg = svg(&Picture { title: "a & b", caption: "\"c\" < d", worlds: &[world] });
    let document = Document::parse(&svg).unwrap();
    assert!(document.descendants().any(|node| node.text() == Some("<script>\"&'é")));
    assert_eq!(document.root_element().attribute("aria-label"), Some("a & b. \"c\" < d"));
}

#[test]
fn the_png_shows_what_the_svg_says() {
    let worlds = rehearsal::worlds();
    let svg = svg(&picture(&worlds[..1]));
    let pixels = Pixmap::decode_png(&png(&svg).unwrap()).unwrap();
    assert_eq!(f64::from(pixels.width()), WIDTH * 2.0);
    let corner = pixels.pixel(40, 4).unwrap();
    assert_eq!((corner.red(), corner.alpha()), (255, 255), "it has its own ground");
    // Red is for failures alone: more of it than letters could have.
    let red =
        pixels.pixels().iter().filter(|pixel| (pixel.red(), pixel.green(), pixel.blue()) == (0xd1, 0x24, 0x2f)).count();
    assert!(red > 2_000, "{red}");
    // Letters come out without any font of the machine.
    let title = |x: u32, y: u32| pixels.pixel(x, y).is_some_and(|pixel| pixel.red() < 0x60);
    assert!((48..800).any(|x| (40..70).any(|y| title(x, y))));
}

#[test]
fn what_is_no_svg_becomes_no_png() {
    assert!(png("<svg").unwrap_err().to_string().starts_with("cannot read the SVG: "));
}

prop_compose! {
    fn any_world()(
        name in "\\PC{0,30}",
        samples in prop::collection::vec((0u64..400, 0u16..1000, prop::collection::vec(0u16..1000, 0..3), 0u32..50, 0u32..50), 0..20),
        steps in prop::collection::vec((0u64..400, prop::option::of(0u64..400)), 0..8),
        failures in prop::collection::vec((0u64..400_000, any::<bool>()), 0..50),
    ) -> World {
        let second = Duration::from_secs;
        let mut samples: Vec<Sample> = samples.into_iter().map(|(at, wished, actual, stable_pods, canary_pods)| {
            Sample { at: second(at), wished, actual, stable_pods, canary_pods }
        }).collect();
        samples.sort_by_key(|sample| sample.at);
        let mut records: Vec<Option<Record>> = failures.into_iter().map(|(ms, failed)| {
            let outcome = if failed { Outcome::Closed } else { Outcome::Status(200) };
            Some(Record { at: Duration::from_millis(ms), latency: Duration::ZERO, outcome, version: None })
        }).collect();
        records.sort_by_key(|record| record.as_ref().map(|record| record.at));
        let steps = steps.into_iter().map(|(asked, settled)| {
            Step { label: format!("{asked}"), asked: second(asked), settled: settled.map(second) }
        }).collect();
        World { name, traffic: Traffic::of(&records), pod_time: Duration::ZERO, steps, samples, events: Vec::new() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_picture_is_well_formed_and_within_its_frame(worlds in prop::collection::vec(any_world(), 0..4)) {
        let svg = svg(&picture(&worlds));
        let document = Document::parse(&svg).unwrap();
        let height = number(&document.root_element(), "height");
        for node in document.descendants().filter(|node| node.has_tag_name("rect")) {
            let (x, y) = (number(&node, "x"), number(&node, "y"));
            prop_assert!(x >= 0.0 && x + number(&node, "width") <= WIDTH + 0.1, "{:?}", node);
            prop_assert!(y >= 0.0 && y + number(&node, "height") <= height + 0.1, "{:?}", node);
        }
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

/// For the eyes: `cargo test -p lab --lib picture_to_look_at -- --ignored` and then the two files that it names.
#[test]
#[ignore = "writes files to look at"]
fn picture_to_look_at() {
    let worlds = rehearsal::worlds();
    let svg = svg(&picture(&worlds));
    let path = std::env::temp_dir().join("lab-picture.svg");
    std::fs::write(&path, &svg).unwrap();
    std::fs::write(path.with_extension("png"), png(&svg).unwrap()).unwrap();
    println!("{} and {}", path.display(), path.with_extension("png").display());
}
