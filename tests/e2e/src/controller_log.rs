//! The rollouts controller's log: its own lines are logrus, those of and about the plugin are hclog text.

use std::time::{Duration, SystemTime};

/// The source of the lines of the plugin that logs every call.
pub(crate) const TALKATIVE: &str = "plugin.talkative";

/// A line in hclog's text form: `time [LEVEL] source: text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PluginLine<'a> {
    /// When, as the host wrote it.
    pub(crate) time: &'a str,
    pub(crate) level: &'a str,
    /// `plugin` is go-plugin itself, `plugin.alb` is what our process said.
    pub(crate) source: &'a str,
    pub(crate) text: &'a str,
}

/// The lines of go-plugin and of the plugin.
pub(crate) fn lines(log: &str) -> impl Iterator<Item = PluginLine<'_>> {
    log.lines().filter_map(|line| {
        let (time, rest) = line.split_once(" [")?;
        let (level, rest) = rest.split_once(']')?;
        let (source, text) = rest.trim_start().split_once(": ")?;
        source.starts_with("plugin").then_some(PluginLine { time, level, source, text })
    })
}

/// That the load balancer controller has followed an announcement, as the plugin said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Echo {
    /// When it said so.
    pub(crate) at: SystemTime,
    /// From the announcement until it was seen that it was followed.
    pub(crate) after: Duration,
}

/// The echoes of a Rollout, in order.
pub(crate) fn echoes(log: &str, rollout: &str) -> Vec<Echo> {
    let echo = |line: PluginLine<'_>| {
        let (_, after) = line.text.split_once("milliseconds=")?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        Some(Echo { at: line.moment()?, after: Duration::from_millis(digits.parse().ok()?) })
    };
    said(log, rollout, "the load balancer controller has followed").filter_map(echo).collect()
}

/// When the plugin said of a Rollout that its weights were confirmed.
pub(crate) fn confirmations(log: &str, rollout: &str) -> Vec<SystemTime> {
    said(log, rollout, "weights confirmed on every rule").filter_map(|line| line.moment()).collect()
}

/// How often the plugin said that it put weights of a Rollout back.
pub(crate) fn put_backs(log: &str, rollout: &str) -> usize {
    said(log, rollout, "are written again").count()
}

/// What the plugin said of a Rollout in these words.
fn said<'a>(log: &'a str, rollout: &str, words: &str) -> impl Iterator<Item = PluginLine<'a>> {
    let about = format!("rollout={rollout}");
    lines(log).filter(move |line| line.text.contains(words) && line.text.split_whitespace().any(|word| word == about))
}

impl PluginLine<'_> {
    fn moment(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(self.time).ok()
    }
}

/// What go-plugin, yamux or net/rpc found wrong.
///
/// A line of the plugin at DEBUG is one too: the plugin says nothing below INFO unless told to, and go-plugin shows what
/// it cannot read at DEBUG. The talkative one is told to.
pub(crate) fn complaints(log: &str) -> Vec<String> {
    let from_go = |line: &&str| {
        ["[ERR] yamux", "[WARN] yamux", "[ERR] plugin", "gob: ", "panic: "].iter().any(|sign| line.contains(sign))
    };
    let complaint = |line: &PluginLine<'_>| match line.source {
        "plugin" => ["WARN", "ERROR"].contains(&line.level),
        TALKATIVE => line.level == "ERROR",
        _ => ["DEBUG", "TRACE", "ERROR"].contains(&line.level),
    };
    let about_plugin =
        lines(log).filter(complaint).map(|line| format!("[{}] {}: {}", line.level, line.source, line.text));
    log.lines().filter(from_go).map(str::to_owned).chain(about_plugin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: &str = "\
time=\"2026-01-02T03:04:05Z\" level=warning msg=\"Controller is running.\"
2026-01-02T03:04:05.217Z [DEBUG] plugin: starting plugin: path=plugin-bin/argoproj-labs/alb
2026-01-02T03:04:05.223Z [INFO]  plugin.alb: started: door=netrpc version=0.1.0
2026-01-02T03:04:05.642Z [WARN]  plugin.alb: throttled: rollout=shop/web
";

    #[test]
    fn lines_of_the_plugin_are_told_from_the_controllers() {
        let lines: Vec<_> = lines(QUIET).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        let time = "2026-01-02T03:04:05.223Z";
        let started =
            PluginLine { time, level: "INFO", source: "plugin.alb", text: "started: door=netrpc version=0.1.0" };
        assert_eq!(lines[1], started);
    }

    #[test]
    fn echoes_are_read_with_their_times() {
        let said = "2026-01-02T03:04:07.500Z [INFO]  plugin.alb: the load balancer controller has followed:";
        let log =
            format!("{QUIET}{said} rollout=shop/web milliseconds=1250\n{said} rollout=shop/web-2 milliseconds=9\n");
        let at = humantime::parse_rfc3339("2026-01-02T03:04:07.500Z").unwrap();
        assert_eq!(echoes(&log, "shop/web"), [Echo { at, after: Duration::from_millis(1250) }]);
    }

    #[test]
    fn what_is_wrong_is_found() {
        assert_eq!(complaints(QUIET), [""; 0]);
        for line in [
            "2026-01-02T03:04:05.000Z [ERROR] plugin: plugin process exited: error=\"signal: killed\"",
            "2026-01-02T03:04:05.000Z [WARN]  plugin: error closing client during Kill",
            "2026-01-02T03:04:05.000Z [DEBUG] plugin.alb: a line that is no JSON",
            "2026-01-02T03:04:05.000Z [ERROR] plugin.alb: a call panicked",
            "2026/01/02 03:04:05 [ERR] yamux: keepalive failed: i/o deadline reached",
            "time=\"2026-01-02T03:04:05Z\" level=error msg=\"gob: type mismatch\"",
        ] {
            assert_eq!(complaints(&format!("{QUIET}{line}\n")).len(), 1, "{line}");
        }
    }
}
