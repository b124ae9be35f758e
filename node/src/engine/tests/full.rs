//! What is said when there is no room, and how often.

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::store::{SpaceProbe, Volume};

/// A volume with as much room as is said.
#[derive(Clone, Debug)]
struct Room(Arc<AtomicU64>);

impl SpaceProbe for Room {
    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { free: self.0.load(Ordering::Relaxed), total: 1 << 40 })
    }
}

/// Lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_full_disk_is_logged_once_a_minute_with_its_figures() {
    let (room, log) = (Room(Arc::new(AtomicU64::new(u64::MAX))), Log::default());
    let options = StoreOptions { reserve_bytes: Some(2 << 20), create: true, ..StoreOptions::new("memory") };
    let store = Store::open_with_backend(|| Ok(InMemoryBackend::new()), room.clone(), options).unwrap();
    let contact = Contact { name: "n".to_owned(), addrs: Vec::new() };
    let key = SigningKey::from_bytes(&[3; 32]);
    let config = EngineConfig { key, contact, seed: [5; 32], step_work: crate::engine::STEP_WORK_MAX };
    let mut engine = Engine::open(store, config).unwrap();
    tracing::subscriber::with_default(log.clone(), || {
        for second in 0..100 {
            // It comes and goes.
            room.0.store(if second % 2 == 0 { 1 << 20 } else { u64::MAX }, Ordering::Relaxed);
            let now = Now { mono: Duration::from_secs(second), wall_millis: WALL };
            drop(engine.step(now, vec![Input::Timer]));
        }
    });
    let lines = log.0.lock().unwrap();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("writes are refused")).collect();
    assert_eq!(told.len(), 2, "at 0 s and 60 s: {lines:?}");
    assert!(told[0].contains("WARN") && told[0].contains("1024 KiB are free, 2048 KiB are kept"), "{told:?}");
}
