//! Is everything well? `doctor` looks at the machine and the project, `fsck` at every stored byte.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write as _,
    time::Instant,
};

use serde_json::{Value, json};
use sextant_agent::{AnswerRecord, Transcript};
use sextant_compute::{ModelManifest, file_facts};
use sextant_core::{ActivityId, Digest, Failure};
use sextant_project::{
    config::{config_check, process_environment},
    release::{self, Role},
    state,
};
use sextant_retrieve::{Snapshots, verify};

use crate::{App, AppError};

/// Free disk below which `doctor` warns.
const DISK_FREE_MIN: u64 = 2 << 30;
/// Answers that are named for each release that is gone.
const ANSWERS_NAMED_MAX: usize = 20;
/// An fsync slower than this makes every acknowledgement slow.
const FSYNC_SLOW_MS: f64 = 50.0;

enum State {
    Good,
    Warn,
    Bad,
}

impl App {
    /// Checks the machine, the data folder and the project.
    pub(crate) fn doctor(&self) -> Value {
        let mut checks = Vec::new();
        let mut check = |name: &str, (state, detail): (State, String)| {
            let word = match state {
                State::Good => "ok",
                State::Warn => "warn",
                State::Bad => "failed",
            };
            checks.push(json!({ "name": name, "state": word, "detail": detail }));
        };
        check("processor", processor());
        check("disk", self.disk());
        check("fsync", self.fsync());
        check("catalog", self.catalog());
        check("tables", self.tables_place());
        check("project files", self.project_files());
        check("indexes", self.embedders());
        check("lineage", self.lineage());
        check("sources", self.accounts());
        check("generator", self.generator_reachable());
        let failed = checks.iter().filter(|check| check["state"] == "failed").count();
        json!({ "checks": checks, "failed": failed })
    }

    fn disk(&self) -> (State, String) {
        match rustix::fs::statvfs(self.store.dir()) {
            Ok(stat) => {
                let free = stat.f_bavail * stat.f_frsize;
                let state = if free < DISK_FREE_MIN { State::Warn } else { State::Good };
                (state, format!("{:.1} GiB free", free as f64 / f64::from(1 << 30)))
            }
            Err(error) => (State::Bad, error.to_string()),
        }
    }

    fn fsync(&self) -> (State, String) {
        let path = self.store.dir().join("tmp").join("doctor");
        let measure = || -> std::io::Result<f64> {
            let mut file = fs::File::create(&path)?;
            let begun = Instant::now();
            for _ in 0..8 {
                file.write_all(&[0; 512])?;
                file.sync_data()?;
            }
            fs::remove_file(&path)?;
            Ok(begun.elapsed().as_secs_f64() * 1000.0 / 8.0)
        };
        match measure() {
            Ok(milliseconds) if milliseconds > FSYNC_SLOW_MS => {
                (State::Warn, format!("{milliseconds:.1} ms: every acknowledgement waits for it"))
            }
            Ok(milliseconds) => (State::Good, format!("{milliseconds:.2} ms")),
            Err(error) => (State::Bad, error.to_string()),
        }
    }

    fn catalog(&self) -> (State, String) {
        match self.store.read().and_then(|reader| reader.audit(1)) {
            Ok(head) => {
                let records = head.first().map_or(0, |record| record.seq);
                (State::Good, format!("{records} audit records, {} answers", self.answers.len()))
            }
            Err(error) => (State::Bad, error.to_string()),
        }
    }

    /// Where the tables are. That the place answers was asked when the project was opened.
    fn tables_place(&self) -> (State, String) {
        match self.engine.tables_place() {
            (place, true) => (State::Good, place),
            (place, false) => {
                (State::Warn, format!("{place}: the store cannot keep several writers apart"))
            }
        }
    }

    fn project_files(&self) -> (State, String) {
        let profile = self.profile.as_deref();
        let faults = config_check(&self.root, &self.kinds, profile, &process_environment);
        match faults.first() {
            None => (State::Good, "no error found".to_owned()),
            Some(fault) => (State::Bad, format!("{} errors; the first: {fault}", faults.len())),
        }
    }

    /// Each index against the embedder that its file names now.
    fn embedders(&self) -> (State, String) {
        let outcome = || -> Result<(State, String), Failure> {
            let project = self.project()?;
            let state = self.state()?;
            let mut indexes = 0;
            for (id, node) in project.graph.nodes().filter(|(id, _)| id.folder() == "indexes") {
                let Some(row) = state.latest.get(id) else { continue };
                indexes += 1;
                let embedder: Option<Digest> =
                    row.meta["embedder"].as_str().and_then(|text| text.parse().ok());
                let inputs = node.asset.inputs();
                let trained = inputs.iter().find(|input| input.folder() == "train");
                let present = trained.and_then(|asset| state.version(asset));
                if embedder != present {
                    let text =
                        format!("{id} was made by another embedder than the present one: build");
                    return Ok((State::Warn, text));
                }
            }
            Ok((State::Good, format!("{indexes} built, vectors fit their embedders")))
        };
        outcome().unwrap_or_else(|failure| (State::Bad, failure.to_string()))
    }

    fn lineage(&self) -> (State, String) {
        match self.store.read().and_then(|reader| reader.holes()) {
            Ok(holes) if holes.is_empty() => (State::Good, "no holes".to_owned()),
            Ok(holes) => {
                (State::Warn, format!("{} holes: `sextant lineage holes` lists them", holes.len()))
            }
            Err(error) => (State::Bad, error.to_string()),
        }
    }

    /// Whether all that arrived is in a table or in quarantine.
    fn accounts(&self) -> (State, String) {
        match self.uneven_accounts() {
            Ok((count, wrong)) if wrong.is_empty() => {
                (State::Good, format!("{count} with records, all add up"))
            }
            Ok((_, wrong)) => (State::Bad, wrong.join("; ")),
            Err(failure) => (State::Bad, failure.to_string()),
        }
    }

    /// Each live release's generator by a real connection.
    fn generator_reachable(&self) -> (State, String) {
        let outcome = || -> Result<(State, String), Failure> {
            let mut endpoints = Vec::new();
            for name in self.live_releases()? {
                let (_, digest) = self.pin(Some(&name))?;
                let config = self.serving(&digest)?.assistant.config.clone();
                if let Some(generator) = &config.generator {
                    crate::plug::probe(generator)?;
                    endpoints.push(generator.base_url.clone());
                }
            }
            if endpoints.is_empty() {
                return Ok((State::Good, "none: answers are quoted from passages".to_owned()));
            }
            Ok((State::Good, format!("{} answers", endpoints.join(", "))))
        };
        outcome().unwrap_or_else(|failure| (State::Bad, failure.to_string()))
    }

    /// Checks every stored byte: the spine, each index against its chunks, each asset's version.
    pub(crate) fn fsck(&self, repair: bool) -> Result<Value, Failure> {
        let mut report = self.store.fsck(repair)?;
        let names = self.version_names()?;
        let folder = Snapshots::new(self.store.area("indexes")?);
        let mut indexes = 0_u64;
        for path in folder.list()? {
            indexes += 1;
            if let Err(error) = verify(&path) {
                report.problem("index", format!("{}: {error}", path.display()));
            }
        }
        let reader = self.store.read()?;
        for digest in names.keys() {
            if reader.artifact(digest)?.is_none() {
                report.problem("version", format!("{digest} of {} is gone", names[digest]));
            }
        }
        let state = self.state()?;
        for (asset, row) in &state.latest {
            self.check_asset(asset, row, &mut report);
        }
        self.check_tables(&mut report)?;
        // Project files that cannot be read are no damage of the store; `doctor` names them.
        for wrong in self.uneven_accounts().map(|(_, wrong)| wrong).unwrap_or_default() {
            report.problem("source", wrong);
        }
        self.check_releases(&mut report)?;
        self.check_models(&mut report)?;
        self.check_answers(&mut report)?;
        let mut result = json!(report);
        result["indexes"] = json!(indexes);
        Ok(result)
    }

    /// The newest version's bulk data: a table's rows against its digest, an index's folder.
    fn check_asset(
        &self,
        asset: &sextant_project::AssetId,
        row: &state::VersionRow,
        report: &mut sextant_lineage::FsckReport,
    ) {
        match asset.folder() {
            "sources" | "models" => match sextant_data::TableMeta::from_value(&row.meta)
                .and_then(|meta| self.engine.verify(&meta))
            {
                Ok(true) => {}
                Ok(false) => report.problem("table", format!("{asset} does not hold its rows")),
                Err(error) => report.problem("table", format!("{asset}: {error}")),
            },
            "indexes" => {
                let path = self
                    .store
                    .area("indexes")
                    .map(|folder| Snapshots::new(folder).path_of(&row.version));
                if !path.is_ok_and(|path| path.is_dir()) {
                    report.problem("index", format!("{asset} has no folder for {}", row.version));
                }
            }
            _ => {}
        }
    }

    /// The files of the tables that statements made.
    fn check_tables(&self, report: &mut sextant_lineage::FsckReport) -> Result<(), Failure> {
        for table in self.engine.tables()?.iter().filter(|table| table.asset.starts_with("tables/"))
        {
            let meta = self.engine.table_version(&table.version)?;
            match self.engine.verify(&meta) {
                Ok(true) => {}
                Ok(false) => {
                    report.problem("table", format!("{} does not hold its rows", table.asset));
                }
                Err(error) => report.problem("table", format!("{}: {error}", table.asset)),
            }
        }
        Ok(())
    }

    /// What a rollback may lead to must still be there: the index of every release.
    fn check_releases(&self, report: &mut sextant_lineage::FsckReport) -> Result<(), Failure> {
        let folder = Snapshots::new(self.store.area("indexes")?);
        for row in release::list(&self.store)? {
            let index = row.parts.get(&Role::Index).map(|part| part.version);
            if let Some(index) = index.filter(|index| !folder.path_of(index).is_dir()) {
                let text =
                    format!("{} {} has no folder for its index {index}", row.name, row.digest);
                report.problem("release", text);
            }
        }
        Ok(())
    }

    /// The folders of models, which are copies of blobs: the same bytes under the same names.
    fn check_models(&self, report: &mut sextant_lineage::FsckReport) -> Result<(), Failure> {
        let area = self.store.area("models")?;
        for entry in fs::read_dir(&area).map_err(AppError::io("list", &area))? {
            let path = entry.map_err(AppError::io("list", &area))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Ok(version) = format!("sha256:{name}").parse::<Digest>() else { continue };
            let outcome = || -> Result<bool, Failure> {
                let manifest = ModelManifest::from_bytes(&version, &self.store.blob(&version)?)?;
                Ok(file_facts(&path)? == manifest.files)
            };
            match outcome() {
                Ok(true) => {}
                Ok(false) => {
                    let text = "does not hold the files of its manifest; it is laid out again \
                                from the blobs when it is opened";
                    report.problem("model", format!("{} {text}", path.display()));
                }
                Err(error) => report.problem("model", format!("{version}: {error}")),
            }
        }
        Ok(())
    }

    /// Every answer is recorded once and names a release that is there, and its words are those of
    /// its record.
    fn check_answers(&self, report: &mut sextant_lineage::FsckReport) -> Result<(), Failure> {
        let reader = self.store.read()?;
        let mut releases: BTreeMap<Digest, Vec<ActivityId>> = BTreeMap::new();
        let mut said: HashMap<[u8; 16], u64> = HashMap::new();
        let mut problems = Vec::new();
        self.answers.scan(0, &mut |_, key, payload| {
            let id = ActivityId::from_raw(key);
            match AnswerRecord::decode(payload) {
                Ok(record) => {
                    let named = releases.entry(record.release).or_default();
                    // A few stand for all: one release that is gone takes every answer with it.
                    if named.len() < ANSWERS_NAMED_MAX {
                        named.push(id);
                    }
                    if said.insert(key, words_of(&record.question, &record.text)).is_some() {
                        problems.push(format!("{id} is recorded twice"));
                    }
                }
                Err(error) => problems.push(format!("{id}: {error}")),
            }
            true
        })?;
        for (release, ids) in releases {
            if reader.artifact(&release)?.is_none() {
                let name = |id: &ActivityId| format!("{id} names a release that is not there");
                problems.extend(ids.iter().map(name));
            }
        }
        self.transcripts.scan(0, &mut |_, key, payload| {
            let id = ActivityId::from_raw(key);
            match Transcript::decode(payload) {
                Ok(words) => {
                    let found = words_of(&Digest::of(&words.question), &Digest::of(&words.answer));
                    // Words without a record are of an answer that was never acknowledged.
                    if said.get(&key).is_some_and(|recorded| *recorded != found) {
                        problems.push(format!("the words of {id} are not those of its record"));
                    }
                }
                Err(error) => problems.push(format!("the words of {id}: {error}")),
            }
            true
        })?;
        for problem in problems {
            report.problem("answer", problem);
        }
        Ok(())
    }
}

/// A short name for what was asked and answered: a million of them fit in memory.
fn words_of(question: &Digest, text: &Digest) -> u64 {
    let mut first = [0; 8];
    let both = Digest::of([question.as_raw().as_slice(), text.as_raw()].concat());
    first.copy_from_slice(&both.as_raw()[..8]);
    u64::from_le_bytes(first)
}

fn processor() -> (State, String) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let features = processor_features();
    (State::Good, format!("{cores} cores, {features}"))
}

#[cfg(target_arch = "x86_64")]
fn processor_features() -> String {
    let mut found = Vec::new();
    for (name, has) in [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
    ] {
        if has {
            found.push(name);
        }
    }
    if found.is_empty() { "no AVX2: training will be slow".to_owned() } else { found.join(", ") }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_features() -> String {
    std::env::consts::ARCH.to_owned()
}
