//! Log lines as a go-plugin host reads them from our stderr, so that they appear in the host's own log at their level.
//!
//! One JSON object a line with the string fields `@level`, `@message` and `@timestamp`; every other field becomes a
//! key of the host's line (go-plugin `log_entry.go`, `client.go` `logStderr`). Two rules keep the host alive: an `@`
//! field that is not a string panics it, and a line of 64 KiB or more is never parsed.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

pub use writer::LogWriter;

mod writer;

/// The longest text of one field, in bytes. A line with a handful of them stays far below the host's 64 KiB.
const MAX_TEXT_BYTES: usize = 4 * 1024;
/// The most fields one line carries besides the three that the host knows.
const MAX_FIELDS: usize = 12;

/// A `tracing` layer that turns every event into one line for the host.
#[derive(Debug)]
pub struct HostLog {
    writer: LogWriter,
}

impl HostLog {
    /// A layer that writes through `writer`.
    #[must_use]
    pub fn new(writer: LogWriter) -> Self {
        Self { writer }
    }
}

impl<S: Subscriber> Layer<S> for HostLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.writer.write(line(*event.metadata().level(), &fields.message, fields.others, SystemTime::now()));
    }
}

/// Prints a panic as one error line of the host's log. Rust's own text would be taken for a debug message.
pub fn report_panics(writer: LogWriter) {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("a value that is not text");
        let mut fields = Map::new();
        if let Some(location) = panic.location() {
            fields.insert("location".to_owned(), location.to_string().into());
        }
        writer.write(line(Level::ERROR, &format!("panic: {text}"), fields, SystemTime::now()));
    }));
}

/// One finished line with its newline.
fn line(level: Level, message: &str, mut fields: Map<String, Value>, at: SystemTime) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    fields.insert("@level".to_owned(), level.into());
    fields.insert("@message".to_owned(), shortened(message).into());
    // The host parses exactly six fraction digits (`log_entry.go`).
    fields.insert("@timestamp".to_owned(), humantime::format_rfc3339_micros(at).to_string().into());
    let mut line = Value::Object(fields).to_string();
    line.push('\n');
    line
}

/// `text`, cut at a character boundary if it is too long for a line.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(MAX_TEXT_BYTES);
    format!("{}… ({} bytes in all)", text.split_at(cut).0, text.len())
}

/// Collects an event's fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        if self.others.len() < MAX_FIELDS {
            self.others.insert(field.name().trim_start_matches('@').to_owned(), value);
        }
    }

    fn add_text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else {
            self.add(field, shortened(text).into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parsed(line: &str) -> Value {
        assert!(line.ends_with('\n') && !line.trim_end().contains('\n'), "{line:?}");
        assert!(line.len() < 64 * 1024);
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn the_three_fields_of_the_host_are_strings_of_its_shape() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_732_444_444_120);
        let fields = Map::from_iter([("weight".to_owned(), Value::from(10))]);
        let value = parsed(&line(Level::WARN, "two\nlines", fields, at));
        assert_eq!(
            value,
            serde_json::json!({
                "@level": "warn", "@message": "two\nlines", "@timestamp": "2024-11-24T10:34:04.120000Z", "weight": 10,
            })
        );
    }

    #[test]
    fn a_field_cannot_pose_as_one_of_the_hosts_and_long_text_is_cut_at_a_character() {
        let long = "é".repeat(MAX_TEXT_BYTES);
        let value = parsed(&line(Level::INFO, &long, Map::new(), SystemTime::now()));
        let message = value["@message"].as_str().unwrap();
        assert!(message.len() < MAX_TEXT_BYTES + 64 && message.contains("8192 bytes in all"), "{message}");
    }

    #[test]
    fn events_become_lines() {
        use tracing_subscriber::layer::SubscriberExt;

        let (writer, lines) = LogWriter::into_memory();
        let subscriber = tracing_subscriber::registry().with(HostLog::new(writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(rollout = "shop/web", weight = 10, done = true, "confirmed in {} ms", 7);
        });
        assert!(writer.flush(Duration::from_secs(10)));
        let value = parsed(&String::from_utf8(lines.lock().unwrap().clone()).unwrap());
        assert_eq!(value["@message"], "confirmed in 7 ms");
        assert_eq!(
            (&value["rollout"], &value["weight"], &value["done"]),
            (&"shop/web".into(), &10.into(), &true.into())
        );
    }
}
