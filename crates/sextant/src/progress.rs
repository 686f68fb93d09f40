//! How is long work shown? Bars on a terminal, one line a step elsewhere, nothing when quiet. All on
//! stderr: stdout is for results.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sextant_core::{Event, Events, Level};

use crate::render::{Style, seconds};

/// Shows events to a person.
pub struct Screen {
    bars: MultiProgress,
    steps: Mutex<BTreeMap<String, ProgressBar>>,
    terminal: bool,
    quiet: bool,
    /// Whether untouched steps are worth a line.
    verbose: bool,
}

impl Screen {
    /// A screen on stderr.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { bars: MultiProgress::new(), steps: Mutex::default(), terminal, quiet, verbose }
    }

    /// Prints a line above the bars.
    pub fn line(&self, text: &str) {
        if self.terminal {
            let _ = self.bars.println(text);
        } else {
            anstream::eprintln!("{text}");
        }
    }

    fn start(&self, step: String, why: &str) {
        if !self.terminal {
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner:.cyan} {prefix:.bold} {wide_msg:.dim}"));
        bar.set_prefix(step.clone());
        bar.set_message(why.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(step, bar);
    }

    fn advance(&self, step: &str, done: u64, total: Option<u64>, detail: String) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bar) = steps.get(step) else { return };
        if let Some(total) = total {
            if bar.length() != Some(total) {
                bar.set_style(style(
                    "{spinner:.cyan} {prefix:.bold} [{bar:24.cyan/dim}] {pos}/{len} {wide_msg:.dim}",
                ));
                bar.set_length(total);
            }
            bar.set_position(done);
        }
        bar.set_message(detail);
    }

    fn finish(&self, step: &str, outcome: &str, detail: &str, took: f64) {
        let bar = self.steps.lock().unwrap_or_else(PoisonError::into_inner).remove(step);
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        if !self.verbose && matches!(outcome, "unchanged" | "held") && took < 0.5 {
            return;
        }
        let mark = match outcome {
            "built" => Style::Good.paint("✓"),
            "failed" => Style::Bad.paint("✗"),
            "skipped" | "cancelled" => Style::Warn.paint("–"),
            _ => Style::Dim.paint("="),
        };
        let time = Style::Dim.paint(seconds(took));
        self.line(&format!("{mark} {} {outcome} {time}  {detail}", Style::Bold.paint(step)));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

impl Events for Screen {
    fn emit(&self, event: Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::StepStarted { step, why } => self.start(step, &why),
            Event::Progress { step, done, total, detail } => {
                self.advance(&step, done, total, detail);
            }
            Event::StepFinished { step, outcome, detail, seconds } => {
                self.finish(&step, &outcome, &detail, seconds);
            }
            Event::Line { level: Level::Info, text } => self.line(&text),
            Event::Line { level: Level::Warn, text } => {
                self.line(&format!("{} {text}", Style::Warn.paint("warning:")));
            }
        }
    }
}
