use super::*;

fn frame(tenths: u32) -> Frame {
    let built_in = WorldFrame {
        name: "built-in".to_owned(),
        now: Sample { at: Duration::ZERO, wished: 60, actual: vec![10, 60], stable_pods: 4, canary_pods: 6 },
        requests: 10_512,
        failures: BTreeMap::from([(Outcome::Status(502), 1_200), (Outcome::TimedOut, 4)]),
    };
    let plugin = WorldFrame {
        name: "plugin".to_owned(),
        now: Sample { at: Duration::ZERO, wished: 60, actual: vec![60, 60], stable_pods: 4, canary_pods: 6 },
        requests: 10_511,
        failures: BTreeMap::new(),
    };
    Frame { elapsed: Duration::from_millis(100) * tenths, worlds: vec![built_in, plugin] }
}

fn shown(mode: Mode, frames: &[Frame]) -> String {
    let mut out = Vec::new();
    let mut view = LiveView::new(&mut out, mode);
    for frame in frames {
        view.show(frame).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn plain_lines_have_no_escapes_and_come_every_two_seconds() {
    let frames: Vec<Frame> = (0..=45).map(frame).collect();
    let text = shown(Mode::Lines, &frames);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3 * 2);
    assert_eq!(
        lines[2],
        "    2.0 s  built-in: canary weight 10-60 %, wished 60 %, pods 4 stable 6 canary, 10,512 requests, \
         1,204 failed (502 ×1,200, timed out ×4)"
    );
    assert_eq!(
        lines[5],
        "    4.0 s  plugin: canary weight 60 %, wished 60 %, pods 4 stable 6 canary, 10,511 requests, 0 failed"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_terminal_is_redrawn_in_place_five_times_a_second() {
    let frames: Vec<Frame> = (0..=10).map(frame).collect();
    let text = shown(Mode::Redraw { colour: false }, &frames);
    // Two worlds and the heading.
    assert_eq!(text.matches('\n').count(), 3 * 6);
    assert_eq!(text.matches("\x1b[3A").count(), 5, "each frame but the first goes up to the first line");
    assert!(!text.contains("\x1b[3A\x1b[3A"));
    // A terminal that does not wrap lines is left as one that does.
    assert_eq!(text.matches("\x1b[?7l").count(), text.matches("\x1b[?7h").count());
    assert!(text.ends_with("\x1b[?7h"));
}

#[test]
fn every_line_of_a_terminal_lines_up_with_its_heading() {
    let lines = lines(Mode::Redraw { colour: false }, &frame(423));
    assert_eq!(
        lines,
        [
            "42.3 s        canary weight     wished     true  stable canary  requests   failed",
            "built-in      ██·······▕······    60 %  10-60 %       4      6    10,512    1,204  502 ×1,200, timed out ×4",
            "plugin        ██████████······    60 %     60 %       4      6    10,511        0",
        ]
    );
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let plain = lines(Mode::Redraw { colour: false }, &frame(1)).concat();
    let coloured = lines(Mode::Redraw { colour: true }, &frame(1)).concat();
    assert!(coloured.contains("\x1b["));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(stripped + rest, plain);
}

#[test]
fn the_last_frame_is_shown_once_whenever_it_comes() {
    let finished = |last: u32| {
        let mut out = Vec::new();
        let mut view = LiveView::new(&mut out, Mode::Lines);
        view.show(&frame(0)).unwrap();
        view.finish(&frame(last)).unwrap();
        String::from_utf8(out).unwrap().lines().count()
    };
    assert_eq!(finished(1), 4, "too fresh for another frame, but the last");
    assert_eq!(finished(0), 2, "shown already");
}

#[test]
fn the_mode_follows_the_terminal_and_its_owner() {
    let mode = |terminal: bool, variables: &[(&str, &str)]| {
        Mode::choose(terminal, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(mode(false, &[]), Mode::Lines);
    assert_eq!(mode(true, &[]), Mode::Redraw { colour: true });
    assert_eq!(mode(true, &[("NO_COLOR", "1")]), Mode::Redraw { colour: false });
    assert_eq!(mode(true, &[("NO_COLOR", "")]), Mode::Redraw { colour: true });
    assert_eq!(mode(true, &[("TERM", "dumb")]), Mode::Lines);
}

#[test]
fn a_world_without_a_rule_yet_has_an_empty_bar() {
    let frame = Frame { elapsed: Duration::ZERO, worlds: vec![WorldFrame::default()] };
    let lines = lines(Mode::Redraw { colour: false }, &frame);
    assert!(lines[1].contains("················") && lines[1].contains(" none "), "{lines:?}");
}
