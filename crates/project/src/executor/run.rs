//! How does one asset take its turn? It is judged, and when it is stale it is built in an act of
//! its own that commits the artifacts together with the new version.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use serde_json::Value;
use sextant_core::{ActivityKind, EdgeKind, Event, Events, ExitKind, Failure, Name};
use sextant_lineage::{Act, Expect, Store};

use super::{
    log::{LoggedEvents, log_path},
    report::{AssetReport, Outcome},
    schedule::Schedule,
    watch::Watch,
};
use crate::{
    AssetId, BuildContext, Built, InputVersion, Project, ProjectError,
    config::BuildSettings,
    graph::Node,
    state::{ErrorReport, Fingerprint, Verdict, VersionRow, judge},
};

/// The longest wait before a retry.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The kind of activity that building a noun is, until the layer says otherwise through the act.
const ACTIVITY_OF_NOUN: &[(&str, ActivityKind)] = &[
    ("source", ActivityKind::Ingest),
    ("checks", ActivityKind::Check),
    ("dataset", ActivityKind::Snapshot),
    ("train", ActivityKind::Train),
    ("index", ActivityKind::Embed),
    ("prompt", ActivityKind::Author),
    ("eval", ActivityKind::Evaluate),
    ("agent", ActivityKind::Author),
];

/// What the workers of one build share.
pub(super) struct Runner<'a> {
    pub(super) project: &'a Project,
    pub(super) store: &'a Store,
    pub(super) settings: &'a BuildSettings,
    pub(super) forced: BTreeSet<AssetId>,
    pub(super) named: BTreeSet<AssetId>,
    pub(super) events: &'a dyn Events,
    pub(super) watch: &'a Watch,
    pub(super) schedule: &'a Schedule,
}

/// How a turn ended.
struct Turn {
    outcome: Outcome,
    why: String,
    summary: String,
    ran: bool,
    error: Option<ErrorReport>,
    version: Option<VersionRow>,
}

impl Turn {
    fn new(outcome: Outcome, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { outcome, why, summary: String::new(), ran: false, error: None, version: None }
    }

    fn failed(why: impl Into<String>, failure: &Failure) -> Self {
        Self { error: Some(failure.into()), ..Self::new(Outcome::Failed, why) }
    }
}

impl Runner<'_> {
    /// Takes assets until there is none left.
    pub(super) fn work(&self) {
        while let Some(id) = self.schedule.next() {
            let began = Instant::now();
            let turn = match self.project.graph.get(&id) {
                Some(node) => self.turn(node),
                None => Turn::new(Outcome::Skipped, "not in the graph"),
            };
            let before = self.schedule.with_state(|state| state.version(&id));
            let report = AssetReport {
                asset: id,
                outcome: turn.outcome,
                why: turn.why,
                summary: turn.summary,
                seconds: began.elapsed().as_secs_f64(),
                version: turn.version.as_ref().map(|row| row.version).or(before),
                ran: turn.ran,
                error: turn.error,
            };
            if turn.ran || report.outcome != Outcome::Unchanged {
                self.tell(&report);
            }
            self.schedule.settle(report, turn.version);
        }
    }

    fn tell(&self, report: &AssetReport) {
        let detail = match &report.error {
            Some(error) => error.message.clone(),
            None if report.summary.is_empty() => report.why.clone(),
            None => report.summary.clone(),
        };
        self.events.emit(Event::StepFinished {
            step: report.asset.to_string(),
            outcome: report.outcome.as_str().to_owned(),
            detail,
            seconds: report.seconds,
        });
    }

    /// Decides whether the asset is built, and builds it.
    fn turn(&self, node: &Node) -> Turn {
        let id = node.asset.id();
        if self.watch.is_cancelled() {
            return Turn::new(Outcome::Cancelled, "the build was cancelled");
        }
        for input in &node.inputs {
            let bad = self.schedule.outcome(input).filter(|outcome| !outcome.is_good());
            // A guard that fails is settled below: only what it guards is held back.
            if let Some(outcome) = bad {
                let why = format!("its input {input} was {}", past(outcome));
                return Turn::new(Outcome::Skipped, why);
            }
        }
        let version = |input: &AssetId| self.schedule.with_state(|state| state.version(input));
        let now = match caught(id, || Fingerprint::take(&*node.asset, &node.inputs, &version)) {
            Ok(now) => now,
            Err(failure) => return Turn::failed("it cannot tell whether it is stale", &failure),
        };
        let before = self.schedule.with_state(|state| state.latest.get(id).cloned());
        let verdict = judge(&*node.asset, &now, before.as_ref(), self.named.contains(id));
        let why = match verdict {
            _ if self.forced.contains(id) => "asked to make it again".to_owned(),
            Verdict::Fresh => return up_to_date(node, before.as_ref()),
            Verdict::Held(why) => return Turn::new(Outcome::Held, why),
            Verdict::Never => "never built".to_owned(),
            Verdict::Stale(why) => why,
        };
        if let Some(guard) = self.failing_guard(node) {
            return Turn::new(Outcome::Skipped, format!("check {guard} failed"));
        }
        self.tries(node, &now, before.as_ref(), why)
    }

    /// The check of an input that fails, or that could not run in this build.
    fn failing_guard(&self, node: &Node) -> Option<AssetId> {
        let graph = &self.project.graph;
        let failing = self.schedule.with_state(|state| node.failing_guard(graph, state).cloned());
        let did_not_pass = || {
            let not_good = |id: &AssetId| self.schedule.outcome(id).is_some_and(|o| !o.is_good());
            node.after.iter().find(|id| not_good(id)).cloned()
        };
        failing.or_else(did_not_pass)
    }

    /// Builds, and builds again while something outside is unavailable.
    fn tries(
        &self,
        node: &Node,
        now: &Fingerprint,
        before: Option<&VersionRow>,
        why: String,
    ) -> Turn {
        let id = node.asset.id();
        self.events.emit(Event::StepStarted { step: id.to_string(), why: why.clone() });
        let mut wait = Duration::from_millis(self.settings.backoff_ms);
        let mut left = self.settings.retries;
        loop {
            let failure = match self.build(node, now, before, &why) {
                Ok(turn) => return turn,
                Err(failure) => failure,
            };
            if self.watch.is_cancelled() {
                let why = "the build was cancelled while it ran";
                return Turn { ran: true, ..Turn::new(Outcome::Cancelled, why) };
            }
            if failure.code().kind == ExitKind::Unavailable && left > 0 {
                left -= 1;
                self.events.warn(format!("{id}: {failure}; trying again in {wait:?}"));
                self.watch.sleep(wait);
                wait = (wait * 2).min(BACKOFF_MAX);
                continue;
            }
            if let Err(second) = self.keep_failure(node, now, &failure) {
                self.events.warn(format!("{id}: its failure could not be recorded: {second}"));
            }
            return Turn { ran: true, ..Turn::failed(why, &failure) };
        }
    }

    /// One try: one act, one log file, one version.
    fn build(
        &self,
        node: &Node,
        now: &Fingerprint,
        before: Option<&VersionRow>,
        why: &str,
    ) -> Result<Turn, Failure> {
        let id = node.asset.id();
        let mut act = self.store.begin(activity_kind(node.asset.noun()), format!("build {id}"));
        act.note("asset", id);
        act.note("recipe", now.recipe);
        act.note("why", why);
        for version in now.inputs.values() {
            act.used(*version);
        }
        let path = log_path(self.store, id, act.id())?;
        let events = LoggedEvents::open(self.store, &path, self.events)?;
        events.note(&format!("{id}: {why}"));
        let timeout = Duration::from_secs(self.settings.timeout_s);
        let watched = self.watch.start(id, timeout);
        let inputs = self.input_versions(node);
        let context = BuildContext {
            store: self.store,
            root: &self.project.root,
            asset: id,
            inputs: &inputs,
            previous: before.map(VersionRow::as_input),
            events: &events,
            cancel: &watched.cancel,
        };
        let result = caught(id, || node.asset.build(&context, &mut act));
        if watched.is_late() {
            let seconds = self.settings.timeout_s;
            events.note("stopped: out of time");
            return Err(ProjectError::TimedOut { asset: id.clone(), seconds }.into());
        }
        if let Err(failure) = &result {
            events.note(&format!("failed: {} {failure}", failure.code()));
        }
        let turn = self.finish(node, now, before, why, act, result?)?;
        events.note(&format!("{}: {}", turn.outcome.as_str(), turn.summary));
        Ok(turn)
    }

    fn input_versions(&self, node: &Node) -> BTreeMap<AssetId, InputVersion> {
        self.schedule.with_state(|state| {
            let rows = node.inputs.iter().filter_map(|input| state.latest.get(input));
            rows.map(|row| (row.asset.clone(), row.as_input())).collect()
        })
    }

    /// Adds the version to the act and commits it.
    fn finish(
        &self,
        node: &Node,
        now: &Fingerprint,
        before: Option<&VersionRow>,
        why: &str,
        mut act: Act,
        built: Built,
    ) -> Result<Turn, Failure> {
        let id = node.asset.id();
        let row = VersionRow {
            asset: id.clone(),
            seq: before.map_or(1, |before| before.seq + 1),
            version: built.version,
            recipe: now.recipe,
            inputs: now.inputs.clone(),
            outside: now.outside,
            activity: act.id(),
            at: self.store.now(),
            summary: built.summary,
            meta: built.meta,
        };
        add_version(&mut act, &row, before)?;
        act.commit()?;
        let same = before.is_some_and(|before| before.version == row.version);
        let (outcome, why) = match (row.fails() && node.asset.guards().is_some(), same) {
            (true, _) => (Outcome::Failed, why.to_owned()),
            (false, true) => (Outcome::Unchanged, format!("same version as before ({why})")),
            (false, false) => (Outcome::Built, why.to_owned()),
        };
        let summary = row.summary.clone();
        Ok(Turn { summary, ran: true, version: Some(row), ..Turn::new(outcome, why) })
    }

    /// Remembers a failure, so that `status` can show it. A retry by the user is always allowed.
    fn keep_failure(
        &self,
        node: &Node,
        now: &Fingerprint,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let id = node.asset.id();
        let kind = activity_kind(node.asset.noun());
        let mut act = self.store.begin(kind, format!("failed build of {id}"));
        let error = serde_json::to_value(ErrorReport::from(failure)).unwrap_or_default();
        act.note("asset", id);
        act.note("error", &error);
        act.execute(
            "INSERT INTO project_failures (asset, recipe, inputs, outside, error, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (asset) DO UPDATE SET
             recipe = excluded.recipe, inputs = excluded.inputs, outside = excluded.outside,
             error = excluded.error, at = excluded.at",
            vec![
                id.as_str().into(),
                now.recipe.into(),
                as_json(&now.inputs).into(),
                now.outside.into(),
                (&error).into(),
                self.store.now().into(),
            ],
        );
        act.commit()?;
        Ok(())
    }
}

fn activity_kind(noun: &str) -> ActivityKind {
    let row = ACTIVITY_OF_NOUN.iter().find(|(word, _)| *word == noun);
    row.map_or(ActivityKind::Transform, |(_, kind)| *kind)
}

fn as_json(inputs: &BTreeMap<AssetId, sextant_core::Digest>) -> String {
    let pairs = inputs.iter().map(|(id, version)| (id.to_string(), version.to_string().into()));
    Value::Object(pairs.collect()).to_string()
}

/// The rows and the pointer of a new version.
fn add_version(
    act: &mut Act,
    row: &VersionRow,
    before: Option<&VersionRow>,
) -> Result<(), Failure> {
    let id = &row.asset;
    act.require(
        "SELECT 1 FROM artifacts WHERE digest = ?1",
        vec![row.version.into()],
        &format!("{id} names a version that nobody made: {}", row.version),
    );
    act.require(
        "SELECT 1 WHERE (SELECT coalesce(max(seq), 0) FROM project_versions WHERE asset = ?1) = ?2",
        vec![id.as_str().into(), seq_cell(row.seq - 1)],
        &format!("{id} was built by somebody else in between"),
    );
    act.execute(
        "INSERT INTO project_versions
         (asset, seq, version, recipe, inputs, outside, activity, at, summary, meta)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        vec![
            id.as_str().into(),
            seq_cell(row.seq),
            row.version.into(),
            row.recipe.into(),
            as_json(&row.inputs).into(),
            row.outside.into(),
            row.activity.into(),
            row.at.into(),
            (&row.summary).into(),
            (&row.meta).into(),
        ],
    );
    act.execute("DELETE FROM project_failures WHERE asset = ?1", vec![id.as_str().into()]);
    if before.is_some_and(|before| before.version == row.version) {
        return Ok(());
    }
    let name = Name::of(&format!("asset/{id}"), "latest").map_err(|error| {
        ProjectError::BrokenRow { what: "name", key: id.to_string(), message: error.to_string() }
    })?;
    let expect = before.map_or(Expect::Absent, |before| Expect::Is(before.version));
    act.point(&name, row.version, expect);
    if let Some(before) = before {
        act.edge(row.version, EdgeKind::Supersedes, before.version);
    }
    Ok(())
}

fn seq_cell(seq: u64) -> sextant_lineage::Cell {
    sextant_lineage::Cell::Int(i64::try_from(seq).unwrap_or(i64::MAX))
}

fn up_to_date(node: &Node, before: Option<&VersionRow>) -> Turn {
    match before.filter(|row| row.fails() && node.asset.guards().is_some()) {
        Some(row) => Turn {
            summary: row.summary.clone(),
            ..Turn::new(Outcome::Failed, "nothing changed since it failed")
        },
        None => Turn::new(Outcome::Unchanged, "up to date"),
    }
}

fn past(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed => "not built: it failed",
        Outcome::Cancelled => "not built: the build was cancelled",
        _ => "not built: it was skipped",
    }
}

/// Runs a layer's code; a panic becomes an error.
fn caught<T>(id: &AssetId, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(ProjectError::Panicked { asset: id.clone(), message: panic_message(&*panic) }.into())
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
