//! The rollouts controller's log: its own lines are logrus, those of and about the plugin are hclog text.

/// The source of the lines of the plugin that logs every call.
pub(crate) const TALKATIVE: &str = "plugin.talkative";

/// A line in hclog's text form: `time [LEVEL] source: text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PluginLine<'a> {
    pub(crate) level: &'a str,
    /// `plugin` is go-plugin itself, `plugin.alb` is what our process said.
    pub(crate) source: &'a str,
    pub(crate) text: &'a str,
}

/// The lines of go-plugin and of the plugin.
pub(crate) fn lines(log: &str) -> impl Iterator<Item = PluginLine<'_>> {
    log.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" [")?;
        let (level, rest) = rest.split_once(']')?;
        let (source, text) = rest.trim_start().split_once(": ")?;
        source.starts_with("plugin").then_some(PluginLine { level, source, text })
    })
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
        let started = PluginLine { level: "INFO", source: "plugin.alb", text: "started: door=netrpc version=0.1.0" };
        assert_eq!(lines[1], started);
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
