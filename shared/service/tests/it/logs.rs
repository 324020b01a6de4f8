use service::logs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

#[test]
fn json_lines_hold_fields_and_respect_the_level() {
    let lines = Lines::default();
    let subscriber = logs::subscriber("info,quiet=error", true, lines.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(request_id = "r-1", events = 3, "batch accepted");
        tracing::debug!("too fine");
        tracing::warn!(target: "quiet", "silenced");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (&line["message"], &line["request_id"], &line["events"]),
        (&"batch accepted".into(), &"r-1".into(), &3.into())
    );
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].is_string());
}

#[test]
fn levels_are_checked() {
    assert!(logs::check_level("debug,queue=trace").is_ok());
    assert!(logs::check_level("queue=loud").is_err());
}
