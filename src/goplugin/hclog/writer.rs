//! Writes log lines on a thread of its own, so that a host that stops reading costs lines, never a call.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Map;
use tracing::Level;

/// How many lines may wait for the host. Beyond it new ones are dropped and counted.
const QUEUE_LINES: usize = 2048;

/// A handle to the writing thread. Clones share it.
#[derive(Clone, Debug)]
pub struct LogWriter {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// Lines that found no room since the last one that was written.
    dropped: u64,
    /// The thread has taken a line and not written it yet.
    writing: bool,
}

impl LogWriter {
    /// Starts a thread that writes to `out`. Errors of `out` are ignored: a host that is gone must not stop us, and
    /// there is nobody left to tell.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let writer = Self { queue: Arc::clone(&queue) };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || queue.write_all(out))?;
        Ok(writer)
    }

    /// Queues a line with its newline. Never blocks on the host.
    pub fn write(&self, line: String) {
        let mut state = self.queue.state();
        if state.lines.len() < QUEUE_LINES {
            state.lines.push_back(line);
        } else {
            state.dropped += 1;
        }
        self.queue.changed.notify_all();
    }

    /// Waits until what was queued is written, for `limit` at most. False when it was not.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let waited = self.queue.changed.wait_timeout_while(self.queue.state(), limit, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    #[cfg(test)]
    pub(super) fn into_memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let memory = tests::Memory::default();
        (Self::start(memory.clone()).unwrap(), memory.0)
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread. It ends with the process: lines come until then.
    fn write_all(&self, mut out: impl Write) {
        loop {
            let idle = self.changed.wait_while(self.state(), |state| state.lines.is_empty());
            let mut state = idle.unwrap_or_else(PoisonError::into_inner);
            let Some(line) = state.lines.pop_front() else { continue };
            let dropped = std::mem::take(&mut state.dropped);
            state.writing = true;
            drop(state);
            let _ = out.write_all(line.as_bytes());
            if dropped > 0 {
                let text = format!("{dropped} log lines were dropped: the host did not read them in time");
                let _ = out.write_all(super::line(Level::WARN, &text, Map::new(), SystemTime::now()).as_bytes());
            }
            let _ = out.flush();
            self.state().writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Memory(pub(super) Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe whose reader sleeps until the test lets it go.
    struct Stuck {
        memory: Memory,
        released: mpsc::Receiver<()>,
        stuck: bool,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.stuck {
                self.released.recv().unwrap();
                self.stuck = false;
            }
            self.memory.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_host_that_does_not_read_costs_lines_and_is_told_how_many() {
        let memory = Memory::default();
        let (release, released) = mpsc::channel();
        let writer = LogWriter::start(Stuck { memory: memory.clone(), released, stuck: true }).unwrap();
        for number in 0..QUEUE_LINES + 100 {
            writer.write(format!("{number}\n"));
        }
        assert!(!writer.flush(Duration::from_millis(1)), "a stuck host cannot be flushed to");
        release.send(()).unwrap();
        assert!(writer.flush(Duration::from_secs(10)));
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("0\n"));
        assert!(text.contains("log lines were dropped"), "{}", text.len());
    }

    #[test]
    fn a_host_that_is_gone_stops_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let writer = LogWriter::start(Gone).unwrap();
        writer.write("lost\n".to_owned());
        assert!(writer.flush(Duration::from_secs(10)), "the thread lives on");
    }
}
