//! How does long work tell what it is doing, and how is it stopped? Through [`Events`] and
//! [`Cancel`], which the command line, the server and the tests each implement in their own way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth a line on the screen.
    Info,
    /// Worth attention.
    Warn,
}

/// Something that long work tells its caller. Serialised as one JSON line when it crosses HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step (an asset's build, a stage of the demo) began.
    StepStarted {
        /// Its name, unique within the work.
        step: String,
        /// Why it runs, in words.
        why: String,
    },
    /// How far a step has come.
    Progress {
        /// The step.
        step: String,
        /// Units done so far.
        done: u64,
        /// Units in all, when known.
        total: Option<u64>,
        /// What is worth showing beside the bar: loss, pairs/s.
        detail: String,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: String,
        /// `built`, `unchanged`, `failed`, `skipped`, `cancelled`.
        outcome: String,
        /// A line of result: counts, digest, error.
        detail: String,
        /// How long it took.
        seconds: f64,
    },
    /// A line for the reader.
    Line {
        /// How much it matters.
        level: Level,
        /// The text.
        text: String,
    },
}

/// Where events go.
pub trait Events: Send + Sync {
    /// Takes one event. It must return fast and must not fail: telling is never in the way of work.
    fn emit(&self, event: Event);
}

impl dyn Events + '_ {
    /// Emits a line of information.
    pub fn info(&self, text: impl Into<String>) {
        self.emit(Event::Line { level: Level::Info, text: text.into() });
    }

    /// Emits a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.emit(Event::Line { level: Level::Warn, text: text.into() });
    }
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn emit(&self, _event: Event) {}
}

/// A flag that asks long work to stop at the next safe point. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
