//! May this data folder keep its tables in that bucket? Asked once, when the engine starts: the store
//! must refuse to write over a file, the catalog's tables must be there and not elsewhere, and no
//! other data folder may keep its tables below the same prefix.

use std::sync::Arc;

use deltalake_core::{
    Path,
    logstore::object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload},
};
use serde::{Deserialize, Serialize};
use sextant_core::{ActivityId, ActivityKind};
use sextant_lineage::Store;

use super::{bucket::TablesAt, certain::Certain, fault::StoreFault, place::Tables};
use crate::{
    catalog,
    error::{DataError, Result},
    workers::Workers,
};

/// Where the data folder is named that a prefix belongs to.
const OWNER: &str = "_sextant/owner.json";

/// What that file says.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    owner: String,
    since: String,
}

/// Tables in the data folder; refused when this folder's tables are in a bucket.
pub(crate) fn in_folder(store: &Store) -> Result<Tables> {
    match catalog::tables_place(&store.read()?)? {
        Some((url, owner)) if !url.is_empty() => move_to(store, &url, "", &owner)?,
        _ => {}
    }
    Ok(Tables::in_folder(store.area("tables")?))
}

/// Tables in a bucket, when they may be kept there.
pub(crate) fn in_bucket(workers: &Workers, store: &Store, at: &TablesAt) -> Result<Tables> {
    let recorded = catalog::tables_place(&store.read()?)?;
    let present = recorded.as_ref().map_or("", |(url, _)| url.as_str());
    if present != at.url {
        refuse_to_leave_tables(store, present, &at.url)?;
    }
    let prefix = prefix_of(&at.url);
    let (bucket, folder) = (Arc::clone(&at.store), prefix.clone());
    let keeps_apart = asked(workers, &at.url, async move { probe(&bucket, &folder).await })?;
    if !keeps_apart && !at.single_writer {
        return Err(StoreFault::Unconditional { url: at.url.clone() }.into());
    }
    let files: Arc<dyn ObjectStore> = if keeps_apart {
        Arc::new(Certain::new(Arc::clone(&at.store)))
    } else {
        Arc::new(Certain::of_one_writer(Arc::clone(&at.store)))
    };
    let owner =
        recorded.as_ref().map_or_else(|| ActivityId::new().to_string(), |(_, owner)| owner.clone());
    if present != at.url {
        move_to(store, present, &at.url, &owner)?;
    }
    let own = Owner { owner, since: store.now().to_string() };
    let (bucket, text) = (Arc::clone(&files), serde_json::to_string(&own).unwrap_or_default());
    let path = child(&prefix, OWNER);
    let found = asked(workers, &at.url, async move { owner_of(&bucket, &path, text).await })?;
    match serde_json::from_str::<Owner>(&found) {
        Ok(found) if found.owner == own.owner => {}
        Ok(found) => {
            return Err(StoreFault::Owned { url: at.url.clone(), since: found.since }.into());
        }
        Err(_) => {
            let reason = format!("{OWNER} is not what Sextant writes there");
            return Err(StoreFault::Unreachable { url: at.url.clone(), reason }.into());
        }
    }
    Ok(Tables::in_bucket(files, at.url.clone(), prefix, keeps_apart))
}

/// The path of a place in its bucket.
fn prefix_of(url: &str) -> Path {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    Path::from(rest.split_once('/').map_or("", |(_, prefix)| prefix))
}

/// A path below another.
pub(super) fn child(parent: &Path, name: &str) -> Path {
    let path = format!("{parent}/{name}");
    // What is spelled as a path already must not be spelled again.
    Path::parse(&path).unwrap_or_else(|_| Path::from(path))
}

/// Notes another place, when there are no tables that would be left behind.
fn move_to(store: &Store, from: &str, to: &str, owner: &str) -> Result<()> {
    refuse_to_leave_tables(store, from, to)?;
    let label = format!("keep tables {}", shown(to));
    let mut act = store.begin(ActivityKind::Author, label);
    catalog::put_tables_place(&mut act, to, owner);
    act.commit()?;
    Ok(())
}

fn refuse_to_leave_tables(store: &Store, from: &str, to: &str) -> Result<()> {
    if catalog::all_tables(&store.read()?)?.is_empty() {
        return Ok(());
    }
    Err(StoreFault::Elsewhere { recorded: shown(from), wanted: shown(to) }.into())
}

/// A place in an error.
fn shown(url: &str) -> String {
    if url.is_empty() { "in the data folder".to_owned() } else { format!("at {url}") }
}

/// Asks the store; what it says against us becomes an error with its address.
fn asked<T: Send + 'static>(
    workers: &Workers,
    url: &str,
    question: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T> {
    let answer = workers.block(None, async move { Ok(question.await) })?;
    answer.map_err(|error| {
        DataError::from(StoreFault::Unreachable { url: url.to_owned(), reason: error.to_string() })
    })
}

/// Whether the store leaves a file that is there when it is asked to: it is asked to write one twice.
async fn probe(store: &Arc<dyn ObjectStore>, prefix: &Path) -> Result<bool, Error> {
    let key = child(prefix, &format!("_sextant/probe-{}", ActivityId::new()));
    let verdict = write_twice(store, &key).await;
    // What is left behind by a failure is a few bytes under a name that nobody else uses.
    store.delete(&key).await.ok();
    verdict
}

async fn write_twice(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<bool, Error> {
    let create = |text: &'static str| {
        store.put_opts(key, PutPayload::from_static(text.as_bytes()), PutMode::Create.into())
    };
    match create("first").await {
        // The name is new: a file that is there is this one, and only the answer was lost.
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(refused) => {
            // Either it knows no condition, or it takes nothing from us at all.
            return match store.put(key, PutPayload::from_static(b"first")).await {
                Ok(_) => Ok(false),
                Err(_) => Err(refused),
            };
        }
    }
    match create("second").await {
        Ok(_) => Ok(false),
        Err(Error::AlreadyExists { .. }) => {
            Ok(store.get(key).await?.bytes().await?.as_ref() == b"first")
        }
        Err(error) => Err(error),
    }
}

/// Who owns the place, after we said that we would like to.
async fn owner_of(files: &Arc<dyn ObjectStore>, path: &Path, own: String) -> Result<String, Error> {
    match read_text(files, path).await {
        Err(Error::NotFound { .. }) => {}
        found => return found,
    }
    let written = files.put_opts(path, PutPayload::from(own.clone()), PutMode::Create.into()).await;
    match written {
        Ok(_) => Ok(own),
        Err(Error::AlreadyExists { .. }) => read_text(files, path).await,
        Err(error) => Err(error),
    }
}

async fn read_text(files: &Arc<dyn ObjectStore>, path: &Path) -> Result<String, Error> {
    let bytes = files.get(path).await?.bytes().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
