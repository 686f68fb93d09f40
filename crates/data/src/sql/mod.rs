//! How does a SQL file become a table? `models/*.sql`, dbt style: a template that names its inputs
//! with `ref` and `source`, run over exactly the versions of them that the build recorded.

mod run;
mod template;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, recipe_digest,
};

use crate::{
    DataEngine,
    catalog::{self, LatestTable},
    error::{DataError, Result},
};
pub(crate) use template::{Parsed, TableRef};

/// Changes when the same SQL would make another table.
const FORMAT: u32 = 1;

/// Reads `models/*.sql`.
#[derive(Debug, Clone)]
pub struct SqlKind {
    engine: DataEngine,
    vars: Arc<BTreeMap<String, Value>>,
}

impl SqlKind {
    /// A kind whose tables are made by this engine; `vars` is what `{{ var('name') }}` finds.
    pub fn new(engine: DataEngine, vars: BTreeMap<String, Value>) -> Self {
        Self { engine, vars: Arc::new(vars) }
    }
}

impl AssetKind for SqlKind {
    fn noun(&self) -> &'static str {
        "model"
    }

    fn folder(&self) -> &'static str {
        "models"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "sql"
    }

    fn schema(&self) -> Option<Value> {
        None
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let id = AssetId::of(self.folder(), &file.stem()).map_err(|message| DataError::Config {
            place: file.place(None, None),
            message,
            fix: "rename the file".to_owned(),
        })?;
        let template = template::Template {
            file: file.path.clone(),
            text: file.text.clone(),
            this: id.stem().to_owned(),
            vars: Arc::clone(&self.vars),
        };
        let parsed = template.parse()?;
        if parsed.tables.iter().any(|table| table.asset == id) {
            return Err(DataError::Config {
                place: file.place(None, None),
                message: format!("{id} reads itself"),
                fix: "a model cannot ref() its own table".to_owned(),
            }
            .into());
        }
        Ok(vec![Arc::new(SqlAsset { engine: self.engine.clone(), id, template, parsed })])
    }
}

pub(crate) struct SqlAsset {
    engine: DataEngine,
    id: AssetId,
    template: template::Template,
    parsed: Parsed,
}

impl SqlAsset {
    /// Where the SQL without its template is written.
    fn compiled_path(&self, context: &BuildContext<'_>) -> Result<PathBuf> {
        let folder = context.store.area("compiled")?.join(self.id.folder());
        std::fs::create_dir_all(&folder)
            .map_err(|source| DataError::Write { path: folder.clone(), source })?;
        Ok(folder.join(format!("{}.sql", self.id.stem())))
    }
}

impl SqlAsset {
    /// The tables of the user's own that it reads, as they are now.
    fn own_tables(&self) -> Result<Vec<(&TableRef, LatestTable)>> {
        let mut own = Vec::new();
        let latest = catalog::latest_tables(&self.engine.store().read()?)?;
        for table in self.parsed.tables.iter().filter(|table| table.is_own()) {
            let row = latest.iter().find(|row| row.meta.asset == table.asset).cloned();
            let missing = || DataError::NotFound {
                what: "table",
                name: format!("{} (sextant sql \"CREATE TABLE {} …\")", table.asset, table.table),
                known: String::new(),
            };
            own.push((table, row.ok_or_else(missing)?));
        }
        Ok(own)
    }
}

impl Asset for SqlAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "model"
    }

    fn about(&self) -> &About {
        &self.parsed.about
    }

    fn file(&self) -> &Path {
        &self.template.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        let tables = self.parsed.tables.iter().filter(|table| !table.is_own());
        let inputs = tables.map(|table| table.asset.clone());
        inputs.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "sql",
            "format": FORMAT,
            "sql": self.parsed.sql,
            "functions": self.engine.text().version(),
        })))
    }

    /// Tables of the user's own are outside of the graph: their present versions.
    fn outside(&self) -> Result<Option<Digest>, Failure> {
        let own = self.own_tables()?;
        if own.is_empty() {
            return Ok(None);
        }
        let versions: Vec<Digest> = own.iter().map(|(_, row)| row.version).collect();
        Ok(Some(recipe_digest(&json!(versions))))
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        run::build(self, context, act)
    }
}
