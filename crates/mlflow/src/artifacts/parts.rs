//! How does a large file come in parts? An upload is begun, its parts are sent at the same time to
//! addresses that nobody else knows, and it ends when they are put together. Until then nothing of it is
//! visible, and only this process knows of it: after a restart the client begins again.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value, json};
use sextant_core::{Digest, limits::ARTIFACT_BYTES_MAX};
use sextant_lineage::Aside;

use super::{ArtifactPath, too_large};
use crate::{
    Answer, Call, Fields, Mlflow, Refusal,
    call::{change, take},
    refusal::{invalid, missing},
};

const UPLOADS_MAX: usize = 256;
const PARTS_MAX: i64 = 10_000;
/// How long an upload may take.
const UPLOAD_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;
/// How long an upload that ended is known, for a client that did not hear of it.
const ENDED_MILLISECONDS: i64 = 10 * 60 * 1000;

/// The calls of this file. Who has the address of a part needs no key.
pub(crate) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow-artifacts/mpu/create/{*path}", Mlflow::create_upload),
    take("PUT", "2.0/mlflow-artifacts/parts/{upload}/{number}", Mlflow::put_part),
    change("POST", "2.0/mlflow-artifacts/mpu/complete/{*path}", Mlflow::complete_upload),
    change("POST", "2.0/mlflow-artifacts/mpu/abort/{*path}", Mlflow::abort_upload),
];

/// The uploads under way, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Arc<Upload>>>);

#[derive(Debug)]
struct Upload {
    path: ArtifactPath,
    parts: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ends: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// What came so far.
    Open(BTreeMap<i64, Aside>),
    /// All is put together.
    Ended,
    /// It could not be put together.
    Broken,
}

impl Uploads {
    fn find(&self, id: &str, now: i64) -> Result<Arc<Upload>, Refusal> {
        let found = self.known(now).get(id).cloned();
        // It may have ended while its turn was waited for.
        found.filter(|upload| now < upload.state().ends).ok_or_else(no_upload)
    }

    fn add(&self, upload: Upload, now: i64) -> Result<String, Refusal> {
        let mut known = self.known(now);
        if known.len() >= UPLOADS_MAX {
            return Err(invalid(format!(
                "{UPLOADS_MAX} uploads in parts are under way; end or abort one of them first."
            )));
        }
        let id = format!("{:032x}", rand::random::<u128>());
        known.insert(id.clone(), Arc::new(upload));
        Ok(id)
    }

    /// Those whose time is not over. The others are forgotten, and with them their parts.
    fn known(&self, now: i64) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is being put together right now is not over.
        known.retain(|_, upload| upload.state.try_lock().map_or(true, |state| now < state.ends));
        known
    }
}

impl Upload {
    fn new(path: ArtifactPath, parts: i64, now: i64) -> Self {
        let stage = Stage::Open(BTreeMap::new());
        let state = Mutex::new(State { ends: now + UPLOAD_MILLISECONDS, stage });
        Self { path, parts, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mlflow {
    fn create_upload(&self, fields: Fields<'_>) -> Answer {
        let path = target(&fields)?;
        let parts = fields.int("num_parts")?.unwrap_or_default();
        if !(1..=PARTS_MAX).contains(&parts) {
            return Err(invalid(format!(
                "Invalid value {parts} for parameter 'num_parts': it is 1 to {PARTS_MAX}."
            )));
        }
        self.check_free(&self.store().read()?, &path)?;
        let now = self.now();
        let id = self.0.uploads.add(Upload::new(path, parts, now), now)?;
        let credential = |number: i64| {
            let url = format!("/api/2.0/mlflow-artifacts/parts/{id}/{number}");
            json!({ "url": url, "part_number": number, "headers": {} })
        };
        let credentials: Vec<Value> = (1..=parts).map(credential).collect();
        Ok(json!({ "upload_id": id, "credentials": credentials }))
    }

    /// Takes a part. One that is sent again replaces what came before.
    fn put_part(&self, fields: Fields<'_>, body: &mut dyn Read) -> Result<Digest, Refusal> {
        let upload = self.0.uploads.find(fields.place("upload"), self.now())?;
        let number: i64 = fields.place("number").parse().map_err(|_| no_upload())?;
        if !(1..=upload.parts).contains(&number) {
            return Err(no_upload());
        }
        let part = self.receive(body, ARTIFACT_BYTES_MAX)?.put_aside();
        let digest = part.digest();
        let mut state = upload.state();
        let Stage::Open(parts) = &mut state.stage else { return Err(no_upload()) };
        parts.insert(number, part);
        let bytes: u64 = parts.values().map(Aside::bytes).sum();
        if bytes > ARTIFACT_BYTES_MAX {
            parts.remove(&number);
            return Err(too_large(ARTIFACT_BYTES_MAX));
        }
        Ok(digest)
    }

    /// Puts the parts together. Asked again, it changes nothing.
    fn complete_upload(&self, fields: Fields<'_>) -> Answer {
        let (path, id) = (target(&fields)?, fields.need("upload_id")?);
        let named = fields.objects("parts")?;
        let upload = self.0.uploads.find(id, self.now())?;
        if upload.path != path {
            return Err(no_upload());
        }
        let mut state = upload.state();
        let parts = match &mut state.stage {
            Stage::Ended => return Ok(json!({})),
            Stage::Broken => return Err(no_upload()),
            Stage::Open(parts) => {
                check_parts(parts, upload.parts, &named)?;
                std::mem::take(parts)
            }
        };
        // What goes wrong from here ends the upload: its parts are used up.
        *state = State { ends: self.now(), stage: Stage::Broken };
        let mut whole = self.store().incoming()?;
        for part in parts.into_values() {
            whole.append(part)?;
        }
        self.keep_artifact(&path, whole)?;
        *state = State { ends: self.now() + ENDED_MILLISECONDS, stage: Stage::Ended };
        Ok(json!({}))
    }

    fn abort_upload(&self, fields: Fields<'_>) -> Answer {
        let (path, id) = (target(&fields)?, fields.need("upload_id")?);
        if self.0.uploads.find(id, self.now())?.path != path {
            return Err(no_upload());
        }
        self.0.uploads.known(self.now()).remove(id);
        Ok(json!({}))
    }
}

/// Where the file goes: into the folder in the path, with the name that it has on the client's machine.
fn target(fields: &Fields<'_>) -> Result<ArtifactPath, Refusal> {
    let folder = ArtifactPath::read(fields.place("path"))?;
    let local = fields.need("path")?;
    let name = ArtifactPath::read(local.rsplit(['/', '\\']).next().unwrap_or_default())?;
    if name.split().is_none() {
        return Err(invalid("Artifact path must include a filename (cannot end with '/')."));
    }
    folder.join(&name)
}

/// Refuses parts that are not all of those that came, each as it came.
fn check_parts(
    parts: &BTreeMap<i64, Aside>,
    count: i64,
    named: &[&Map<String, Value>],
) -> Result<(), Refusal> {
    let mut numbers = Vec::with_capacity(named.len());
    for (index, object) in named.iter().enumerate() {
        let within = format!("parts[{index}].");
        let fields = Fields::inside(object, &within);
        let number = fields.int("part_number")?.ok_or_else(|| fields.absent("part_number"))?;
        let etag = fields.text("etag")?.unwrap_or_default().trim_matches('"');
        if parts.get(&number).is_none_or(|part| part.digest().hex() != etag) {
            return Err(invalid(format!("Part {number} did not come as it is named.")));
        }
        numbers.push(number);
    }
    if numbers == (1..=count).collect::<Vec<i64>>() {
        return Ok(());
    }
    Err(invalid(format!("The upload has the parts 1 to {count}; all are named in their order.")))
}

fn no_upload() -> Refusal {
    missing("There is no such upload, or its time is over.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uploads_are_bounded_and_forgotten_when_their_time_is_over() {
        let uploads = Uploads::default();
        let begin = |now| {
            uploads.add(Upload::new(ArtifactPath::read("a").unwrap(), 1, now), now).map_err(|_| ())
        };
        let ids: Vec<String> = (0..UPLOADS_MAX).map(|_| begin(0).unwrap()).collect();
        assert_eq!(begin(UPLOAD_MILLISECONDS - 1), Err(()));
        assert!(uploads.find(&ids[0], UPLOAD_MILLISECONDS - 1).is_ok());
        let held = Arc::clone(&uploads.known(0)[&ids[1]]);
        let under_way = held.state();
        assert!(begin(UPLOAD_MILLISECONDS).is_ok());
        assert_eq!(uploads.known(UPLOAD_MILLISECONDS).len(), 2, "one is being put together");
        drop(under_way);
        assert!(uploads.find(&ids[1], UPLOAD_MILLISECONDS).is_err());
    }
}
